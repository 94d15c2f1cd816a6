variable "group_name" {
  description = "Name of the schedule group, which holds the schedules of this application and no others."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-zA-Z_.-]{1,64}$", var.group_name)) && var.group_name != "default"
    error_message = "A schedule group's name consists of 1 to 64 letters, digits, dots, hyphens and underscores. It can't be `default`, because other applications use that group too."
  }
}

variable "role_name" {
  description = "Name of the role with which EventBridge Scheduler sends messages."
  type        = string
}

variable "role_path" {
  description = "Path of that role: `/`, or `/shop/` for a role whose ARN ends in `role/shop/scheduler`."
  type        = string
  default     = "/"

  validation {
    condition     = can(regex("^/(.*/)?$", var.role_path))
    error_message = "A role's path has to begin and end with a slash."
  }
}

variable "dead_letter_queue_name" {
  description = "Name of the queue for messages that could not be delivered. If null, they are lost."
  type        = string
  default     = null
}

variable "dead_letter_retention_seconds" {
  description = "Time in seconds for which such messages are kept."
  type        = number
  default     = 1209600
  nullable    = false
}

variable "deletion_protection" {
  description = "Protection of the dead-letter queue against deletion, by a denial in the policy. To delete it, first apply with false."
  type        = bool
  default     = true
}

variable "tls_only" {
  description = "Denial of calls without TLS to the dead-letter queue. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "queues" {
  description = "Queues that schedules send to, by the application's names for them."
  type = map(object({
    name = string
    arn  = string
  }))
}

variable "schedules" {
  description = "Schedules, by name, in the shape that `taskq topology` writes. `input` is the message, with `<aws.scheduler.scheduled-time>` unescaped."
  type = map(object({
    expression              = string
    timezone                = optional(string, "UTC")
    queue                   = string
    input                   = string
    message_group_id        = optional(string)
    flexible_window_minutes = optional(number)
    enabled                 = optional(bool, true)
    end_date                = optional(string)
    description             = optional(string, "")
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.schedules) : can(regex("^[0-9a-zA-Z_.-]{1,64}$", name))])
    error_message = "A schedule's name consists of 1 to 64 letters, digits, dots, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : can(regex("^(rate|cron|at)\\(.+\\)$", schedule.expression))])
    error_message = "A schedule's expression has to be rate(...), cron(...) or at(...)."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : !strcontains(schedule.input, "\\u003caws.scheduler")])
    error_message = "A context attribute in an input is escaped (\\u003caws.scheduler...), so the scheduler would not replace it. Pass the input as `taskq topology` writes it, without jsonencode."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : contains(keys(var.queues), schedule.queue)])
    error_message = "A schedule sends to a queue that the variable queues doesn't contain. Add the queue, or correct the schedule."
  }
}

variable "maximum_event_age_seconds" {
  description = "Time in seconds for which delivery of a message is retried before the message becomes a dead letter."
  type        = number
  default     = 86400

  validation {
    condition     = var.maximum_event_age_seconds >= 60 && var.maximum_event_age_seconds <= 86400
    error_message = "EventBridge Scheduler retries for 60 seconds to 24 hours (86,400 seconds)."
  }
}

variable "kms_key_arn" {
  description = "ARN of your own KMS key for the schedules and the dead-letter queue. If null, each service encrypts with its own key."
  type        = string
  default     = null
}

variable "schedules_kms_key_arn" {
  description = "ARN of another KMS key for the schedules, whose input holds the messages. If null, `kms_key_arn` encrypts them, too."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "ARN of the role's permissions boundary, for accounts that require one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of all resources of this module."
  type        = map(string)
  default     = {}
}
