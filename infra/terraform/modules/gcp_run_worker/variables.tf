variable "project" {
  description = "ID of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the worker pool."
  type        = string
}

variable "name" {
  description = "Name of the worker pool."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,47}[a-z0-9]$", var.name))
    error_message = "A worker pool's name consists of 2 to 49 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "service_account_id" {
  description = "ID of the service account that is made for the workers: 6 to 30 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.service_account_id))
    error_message = "A service account's ID consists of 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "image" {
  description = "Container image with the application and `taskq-cloud[gcp]` installed."
  type        = string
}

variable "command" {
  description = "Command of the container, such as `[\"taskq\", \"worker\", \"-A\", \"shop.tasks:app\", \"-Q\", \"orders\"]`."
  type        = list(string)
}

variable "environment" {
  description = "Environment variables of the container, such as `TASKQ_BROKER` and `TASKQ_RESULTS`."
  type        = map(string)

  validation {
    condition     = contains(keys(var.environment), "TASKQ_BROKER")
    error_message = "The environment has no TASKQ_BROKER. Without it, a worker would serve an SQLite file inside its container."
  }
}

variable "secrets" {
  description = "Environment variables with values from Secret Manager: name of the variable to name of the secret. The workers may read these secrets and no others."
  type        = map(string)
  default     = {}
}

variable "scaled" {
  description = "Scaling by an autoscaler: Terraform sets the number of containers once and then leaves it alone. A change makes the worker pool anew, unless you move it in the state first: `terraform state mv` from `google_cloud_run_v2_worker_pool.this[0]` to `.scaled[0]`."
  type        = bool
  default     = false
}

variable "instances" {
  description = "Number of containers, at first if the worker pool is scaled."
  type        = number
  default     = 1

  validation {
    condition     = var.instances >= 0
    error_message = "instances has to be 0 or more."
  }
}

variable "cpu" {
  description = "Virtual CPUs of a container."
  type        = string
  default     = "1"
}

variable "memory_mb" {
  description = "Memory of a container in MiB."
  type        = number
  default     = 1024

  validation {
    condition     = var.memory_mb >= 512
    error_message = "A container needs at least 512 MiB of memory."
  }
}

variable "deletion_protection" {
  description = "Protection of the worker pool against deletion by Terraform."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of the worker pool."
  type        = map(string)
  default     = {}
}
