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
      name          = string
      command       = list(string)
      memory_mb     = number
      minimum_tasks = number
      environment   = map(string)
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
  description = "Environment variables of the workers with values from Secret Manager: name of the variable to name of the secret. The workers' service accounts need the role `roles/secretmanager.secretAccessor` for each."
  type        = map(string)
  default     = {}
}

variable "kms_key_name" {
  description = "Name of your own KMS key for the topics. If null, Google encrypts with its own key."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Protection against deletion, of queues, of workers and of buckets that aren't empty. To delete one of them, first apply with false."
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
