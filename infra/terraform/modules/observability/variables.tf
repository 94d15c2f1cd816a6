variable "name" {
  description = "Name of the dashboard, and prefix of the alarms' names."
  type        = string
}

variable "queues" {
  description = "Queues to watch, by the application's names for them. An alarm is raised when the oldest message has waited for longer than `oldest_message_seconds`."
  type = map(object({
    name                   = string
    dead_letter_queue_name = string
    oldest_message_seconds = optional(number, 900)
  }))

  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.oldest_message_seconds > 0])
    error_message = "oldest_message_seconds has to be more than 0."
  }
}

variable "function_names" {
  description = "Names of the Lambda functions to watch."
  type        = list(string)
  default     = []
}

variable "table_names" {
  description = "Names of the DynamoDB tables to watch."
  type        = list(string)
  default     = []
}

variable "schedule_dead_letter_queue_name" {
  description = "Name of the schedules' dead-letter queue. Null if there is none."
  type        = string
  default     = null
}

variable "throttles_allowed" {
  description = "Number of throttled calls to a table in five minutes up to which no alarm is raised."
  type        = number
  default     = 100
}

variable "alarm_topic_arns" {
  description = "ARNs of SNS topics that are notified when an alarm is raised, and when it is over."
  type        = list(string)
  default     = []
}

variable "dashboard" {
  description = "Creation of the dashboard."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of the alarms."
  type        = map(string)
  default     = {}
}
