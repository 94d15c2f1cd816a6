variable "project" {
  description = "ID of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the autoscaler."
  type        = string
}

variable "name" {
  description = "Name of the autoscaler's Cloud Run service."
  type        = string
}

variable "service_account_id" {
  description = "ID of the service account that is made for the autoscaler: 6 to 30 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.service_account_id))
    error_message = "A service account's ID consists of 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "parameter_version" {
  description = "Full name of the version of a Parameter Manager parameter with the output `configuration`: `projects/<project>/locations/global/parameters/<parameter>/versions/<version>`."
  type        = string

  validation {
    condition     = can(regex("^projects/[^/]+/locations/[^/]+/parameters/[^/]+/versions/[^/]+$", var.parameter_version))
    error_message = "parameter_version is the full name of a version: projects/<project>/locations/global/parameters/<parameter>/versions/<version>."
  }
}

variable "workers" {
  description = "Worker pools to scale, by names of your choice. `service_account` is the full name of the account that the pool runs with; `backlog_per_instance` is the number of messages, waiting and leased, for each instance."
  type = map(object({
    name                 = string
    region               = string
    service_account      = string
    subscriptions        = list(string)
    minimum_instances    = number
    maximum_instances    = number
    backlog_per_instance = number
  }))

  validation {
    condition     = alltrue([for worker in values(var.workers) : worker.minimum_instances >= 0 && worker.maximum_instances >= max(1, worker.minimum_instances) && worker.maximum_instances <= 100 && worker.backlog_per_instance >= 1 && length(worker.subscriptions) >= 1])
    error_message = "A worker pool has at least one subscription, 0 to 100 instances, a minimum that isn't above its maximum, and a backlog_per_instance of at least 1."
  }
}

variable "polling_seconds" {
  description = "Seconds between two looks at the backlog."
  type        = number
  default     = 30

  validation {
    condition     = var.polling_seconds >= 10 && var.polling_seconds <= 600
    error_message = "polling_seconds is 10 to 600."
  }
}

variable "idle_seconds" {
  description = "Seconds for which fewer instances have to suffice before some are removed."
  type        = number
  default     = 300

  validation {
    condition     = var.idle_seconds >= 0 && var.idle_seconds <= 3600
    error_message = "idle_seconds is 0 to 3,600."
  }
}

variable "image" {
  description = "Image of the autoscaler."
  type        = string
  default     = "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:1.0"
}

variable "base_image" {
  description = "Base image under the autoscaler's image, which has none of its own."
  type        = string
  default     = "us-central1-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25"
}

variable "deletion_protection" {
  description = "Protection of the autoscaler against deletion by Terraform."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of the autoscaler."
  type        = map(string)
  default     = {}
}
