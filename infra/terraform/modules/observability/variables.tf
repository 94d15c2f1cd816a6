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

variable "log_group_names" {
  description = "Log groups in which failed tasks are counted, by the names of the functions and services that write to them."
  type        = map(string)
  default     = {}
}

variable "failed_tasks_allowed" {
  description = "Number of failed tasks of one function or service in five minutes up to which no alarm is raised."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.failed_tasks_allowed >= 0
    error_message = "failed_tasks_allowed has to be 0 or more."
  }
}

variable "emails" {
  description = "E-mail addresses that are notified when an alarm is raised, and when it is over. The module makes a topic for them. Each address receives a mail with a link to confirm the subscription."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "alarm_topic_arns" {
  description = "ARNs of further SNS topics that are notified. Each topic's policy and key have to let CloudWatch publish to it; the key `alias/aws/sns` doesn't."
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
