variable "name" {
  description = "What the alarms and the dashboard are called after."
  type        = string
}

variable "queues" {
  description = "The queues to watch, by the application's names. An alarm is raised when the oldest message waits for longer than oldest_message_seconds."
  type = map(object({
    name                   = string
    dead_letter_queue_name = string
    oldest_message_seconds = optional(number, 900)
  }))

  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.oldest_message_seconds > 0])
    error_message = "oldest_message_seconds is more than 0."
  }
}

variable "function_names" {
  description = "Lambda functions to watch."
  type        = list(string)
  default     = []
}

variable "table_names" {
  description = "Tables to watch."
  type        = list(string)
  default     = []
}

variable "schedule_dead_letter_queue_name" {
  description = "The dead-letter queue of the schedules; null: there are none."
  type        = string
  default     = null
}

variable "throttles_allowed" {
  description = "Throttled calls to a table in five minutes that are no reason for an alarm."
  type        = number
  default     = 100
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told when an alarm is raised and when it is over."
  type        = list(string)
  default     = []
}

variable "dashboard" {
  description = "Whether a dashboard is made."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of the alarms."
  type        = map(string)
  default     = {}
}
