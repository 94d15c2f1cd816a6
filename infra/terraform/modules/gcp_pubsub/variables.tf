variable "project" {
  description = "ID of the Google Cloud project."
  type        = string
}

variable "subscriptions" {
  description = "Topics and subscriptions, by the application's names for its queues, in the shape that `taskq topology` writes."
  type = map(object({
    topic                     = string
    subscription              = string
    ordered                   = bool
    ack_deadline_seconds      = number
    message_retention_seconds = number
    max_delivery_attempts     = number
    dead_letter_topic         = string
    dead_letter_subscription  = string
  }))

  validation {
    condition     = alltrue([for each in values(var.subscriptions) : each.ack_deadline_seconds >= 10 && each.ack_deadline_seconds <= 600])
    error_message = "ack_deadline_seconds is 10 to 600."
  }

  validation {
    condition     = alltrue([for each in values(var.subscriptions) : each.max_delivery_attempts >= 5 && each.max_delivery_attempts <= 100])
    error_message = "max_delivery_attempts is 5 to 100."
  }

  validation {
    condition     = alltrue([for each in values(var.subscriptions) : each.message_retention_seconds >= 600 && each.message_retention_seconds <= 2678400])
    error_message = "Pub/Sub keeps messages for 10 minutes to 31 days (600 to 2,678,400 seconds)."
  }
}

variable "dead_letter_retention_seconds" {
  description = "Time in seconds for which dead letters are kept."
  type        = number
  default     = 2678400

  validation {
    condition     = var.dead_letter_retention_seconds >= 600 && var.dead_letter_retention_seconds <= 2678400
    error_message = "Pub/Sub keeps messages for 10 minutes to 31 days (600 to 2,678,400 seconds)."
  }
}

variable "producers" {
  description = "Accounts that call tasks, by names of your choice, such as `{ web = \"serviceAccount:web@project.iam.gserviceaccount.com\" }`."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.producers), keys(var.workers))) == 0
    error_message = "A name appears among the producers and among the workers. Remove it from the producers: workers may call tasks too."
  }
}

variable "workers" {
  description = "Accounts that run tasks and may call them too, by names of your choice. The names have to be known in the plan; an account may be made along with the queues."
  type        = map(string)
  default     = {}
}

variable "delays" {
  description = "Cloud Tasks queue for messages that are due in more than ten minutes, its location, and the ID of the service account that is made for it. Null for no such queue."
  type = object({
    queue              = string
    location           = string
    service_account_id = string
  })
  default = null

  validation {
    condition     = var.delays == null ? true : can(regex("^[A-Za-z0-9-]{1,100}$", var.delays.queue))
    error_message = "The name of a Cloud Tasks queue consists of 1 to 100 letters, digits and hyphens."
  }

  validation {
    condition     = var.delays == null ? true : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.delays.service_account_id))
    error_message = "A service account's ID consists of 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "kms_key_name" {
  description = "Name of your own KMS key for the topics. If null, Google encrypts with its own key."
  type        = string
  default     = null
}

variable "labels" {
  description = "Labels of all topics and subscriptions."
  type        = map(string)
  default     = {}
}
