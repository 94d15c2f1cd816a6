variable "group_name" {
  description = "The schedule group, which holds this application's schedules and no others."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-zA-Z_.-]{1,64}$", var.group_name)) && var.group_name != "default"
    error_message = "A schedule group's name is 1 to 64 letters, digits, dots, hyphens and underscores, and not default: that is everyone's."
  }
}

variable "role_name" {
  description = "The role that the scheduler sends with."
  type        = string
}

variable "role_path" {
  description = "The role's path: /, or /shop/ for a role whose ARN ends in role/shop/scheduler."
  type        = string
  default     = "/"

  validation {
    condition     = can(regex("^/(.*/)?$", var.role_path))
    error_message = "A role's path begins and ends with a slash."
  }
}

variable "dead_letter_queue_name" {
  description = "The queue of what could not be delivered; null: it is lost."
  type        = string
  default     = null
}

variable "dead_letter_retention_seconds" {
  description = "How long that is kept."
  type        = number
  default     = 1209600
  nullable    = false
}

variable "tls_only" {
  description = "Whether calls without TLS are denied to that queue. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "queues" {
  description = "The queues that schedules send to, by the application's names."
  type = map(object({
    name = string
    arn  = string
  }))
}

variable "schedules" {
  description = "By name, as `taskq topology` writes them. input is the message, with <aws.scheduler.scheduled-time> in it as it is."
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
    error_message = "A schedule's name is 1 to 64 letters, digits, dots, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : can(regex("^(rate|cron|at)\\(.+\\)$", schedule.expression))])
    error_message = "A schedule's expression is rate(...), cron(...) or at(...)."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : !strcontains(schedule.input, "\\u003caws.scheduler")])
    error_message = "The input's context attributes are escaped (\\u003caws.scheduler...): the scheduler would not fill them in. Pass it as `taskq topology` writes it, not through jsonencode."
  }

  validation {
    condition     = alltrue([for schedule in values(var.schedules) : contains(keys(var.queues), schedule.queue)])
    error_message = "A schedule names a queue that is not among the queues."
  }
}

variable "maximum_event_age_seconds" {
  description = "How long a message is tried to be delivered before it becomes a dead letter."
  type        = number
  default     = 86400

  validation {
    condition     = var.maximum_event_age_seconds >= 60 && var.maximum_event_age_seconds <= 86400
    error_message = "EventBridge Scheduler tries for 60 seconds to 24 hours."
  }
}

variable "kms_key_arn" {
  description = "A KMS key of your own; null: the services'."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "The role's permissions boundary, where the account demands one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
