variable "declared" {
  description = "Declaration of the application, in the shape that `taskq topology` writes: `jsondecode(file(\"taskq.tfvars.json\"))`. Attributes that this module doesn't need are ignored."
  type = object({
    name        = string
    project     = string
    environment = optional(map(string), {})
    subscriptions = map(object({
      topic                     = string
      subscription              = string
      ordered                   = bool
      ack_deadline_seconds      = number
      message_retention_seconds = number
      max_delivery_attempts     = number
      dead_letter_topic         = string
      dead_letter_subscription  = string
    }))
    services = optional(map(object({
      name             = string
      queues           = list(string)
      command          = list(string)
      memory_mb        = number
      minimum_tasks    = number
      maximum_tasks    = number
      backlog_per_task = number
      environment      = map(string)
    })), {})
    buckets = optional(map(object({
      provider = string
      region   = optional(string)
      lifecycle_rules = map(object({
        prefix      = string
        expire_days = number
      }))
    })), {})
    scheduler_jobs = optional(map(object({
      location    = string
      schedule    = string
      timezone    = optional(string, "UTC")
      queue       = string
      message     = string
      attributes  = optional(map(string), {})
      retries     = optional(number, 3)
      enabled     = optional(bool, true)
      description = optional(string, "")
    })), {})
  })
  nullable = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.declared.name))
    error_message = "The application's name consists of 1 to 24 lower-case letters, digits and hyphens, and begins with a letter: the ID of its service account for delays, `<name>-later`, has to fit into 30."
  }
}

variable "region" {
  description = "Region of the workers, of the queue for delays, and of buckets whose region isn't declared."
  type        = string
}

variable "image" {
  description = "Container image with the application and `taskq-cloud[gcp]` installed."
  type        = string
  default     = null

  validation {
    condition     = length(var.declared.services) == 0 || var.image != null
    error_message = "The application declares services, and image is null. Set image to a container image with the application and taskq-cloud[gcp] installed."
  }
}

variable "producers" {
  description = "Accounts that call tasks, by names of your choice, such as `{ web = \"serviceAccount:web@project.iam.gserviceaccount.com\" }`."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "Environment variables of the workers with values from Secret Manager: name of the variable to name of the secret. The workers may read these secrets and no others."
  type        = map(string)
  default     = {}
}

variable "scaling" {
  description = "Scaling of the workers by the backlog of their queues, between the declared `minimum_tasks` and `maximum_tasks`. `parameter_version` is the full name of a version of a Parameter Manager parameter with the output `scaling_configuration`. If null, the number of workers is fixed: `minimum_tasks`, and at least 1."
  type = object({
    parameter_version = string
    polling_seconds   = optional(number, 30)
    idle_seconds      = optional(number, 300)
  })
  default = null

  validation {
    condition     = var.scaling == null ? true : length(var.declared.name) <= 22
    error_message = "The application's name has at most 22 characters if its workers are scaled: the ID of the autoscaler's service account, `<name>-scaling`, has to fit into 30."
  }
}

variable "kms_key_name" {
  description = "Name of your own KMS key for the topics. If null, Google encrypts with its own key."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Protection of queues, of workers and their autoscaler, and of buckets that aren't empty against deletion. To delete one of them, first apply with false."
  type        = bool
  default     = true
}

variable "unprotected_queues" {
  description = "Application's names of drained queues, which lose their protection against deletion. To drop or rename a queue, first apply with its name here."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "labels" {
  description = "Labels of all resources that take labels."
  type        = map(string)
  default     = {}
}
