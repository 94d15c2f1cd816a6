variable "name" {
  description = "The queue's name. One that ends in .fifo keeps the order of each message group."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,75}(\\.fifo)?$", var.name))
    error_message = "A queue's name is letters, digits, hyphens and underscores, 80 characters at most with .fifo."
  }
}

variable "dead_letter_queue_name" {
  description = "The name of its dead-letter queue: <name>-dead, or <name>-dead.fifo."
  type        = string
}

variable "visibility_timeout_seconds" {
  description = "How long a received message is hidden. For Lambda at least 6 times the function's timeout."
  type        = number

  validation {
    condition     = var.visibility_timeout_seconds >= 0 && var.visibility_timeout_seconds <= 43200
    error_message = "A visibility timeout is 0 to 43,200 seconds (12 hours)."
  }
}

variable "function_timeout_seconds" {
  description = "The timeout of the Lambda function that reads the queue; null where containers do."
  type        = number
  default     = null

  validation {
    condition     = var.function_timeout_seconds == null ? true : var.visibility_timeout_seconds >= 6 * var.function_timeout_seconds
    error_message = "The visibility timeout must be at least 6 times the function's timeout: shorter, and a message is run again while its first run goes on."
  }
}

variable "message_retention_seconds" {
  description = "How long a message is kept that nobody receives."
  type        = number
  default     = 345600

  validation {
    condition     = var.message_retention_seconds >= 60 && var.message_retention_seconds <= 1209600
    error_message = "SQS keeps messages for 60 seconds to 14 days."
  }
}

variable "dead_letter_retention_seconds" {
  description = "How long a dead letter is kept, counted from when its message was first sent."
  type        = number
  default     = 1209600

  validation {
    condition     = var.dead_letter_retention_seconds >= 60 && var.dead_letter_retention_seconds <= 1209600
    error_message = "SQS keeps messages for 60 seconds to 14 days."
  }
}

variable "receive_wait_time_seconds" {
  description = "How long a receive waits for a message where it doesn't say."
  type        = number
  default     = 20

  validation {
    condition     = var.receive_wait_time_seconds >= 1 && var.receive_wait_time_seconds <= 20
    error_message = "Long polling waits for 1 to 20 seconds; without it, empty receives are paid for."
  }
}

variable "max_receive_count" {
  description = "Receives after which SQS itself moves a message to the dead-letter queue."
  type        = number
  default     = 5

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "maxReceiveCount is at least 5: throttled invocations of a function use receives up."
  }
}

variable "kms_key_arn" {
  description = "A KMS key of your own; null: SQS's (SSE-SQS)."
  type        = string
  default     = null
}

variable "tls_only" {
  description = "Whether calls without TLS are denied. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "redrive_allow_policy" {
  description = "Whether the dead-letter queue takes messages of this queue only. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of both queues."
  type        = map(string)
  default     = {}
}
