variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "subscriptions" {
  description = "By the application's name of a queue, as `taskq topology` writes them."
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
    error_message = "An acknowledgement deadline is 10 to 600 seconds."
  }

  validation {
    condition     = alltrue([for each in values(var.subscriptions) : each.max_delivery_attempts >= 5 && each.max_delivery_attempts <= 100])
    error_message = "max_delivery_attempts is 5 to 100."
  }

  validation {
    condition     = alltrue([for each in values(var.subscriptions) : each.message_retention_seconds >= 600 && each.message_retention_seconds <= 2678400])
    error_message = "Pub/Sub keeps messages for 10 minutes to 31 days."
  }
}

variable "dead_letter_retention_seconds" {
  description = "How long dead letters are kept."
  type        = number
  default     = 2678400

  validation {
    condition     = var.dead_letter_retention_seconds >= 600 && var.dead_letter_retention_seconds <= 2678400
    error_message = "Pub/Sub keeps messages for 10 minutes to 31 days."
  }
}

variable "producers" {
  description = "Who calls tasks, by names of your own: { web = \"serviceAccount:web@project.iam.gserviceaccount.com\" }."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.producers), keys(var.workers))) == 0
    error_message = "A name is both a producer's and a worker's: a worker calls tasks as well, name it once."
  }
}

variable "workers" {
  description = "Who runs them, and calls tasks as well, likewise: accounts that are made with the queues have no names before."
  type        = map(string)
  default     = {}
}

variable "kms_key_name" {
  description = "A KMS key of your own; null: Google's."
  type        = string
  default     = null
}

variable "labels" {
  description = "Labels."
  type        = map(string)
  default     = {}
}
