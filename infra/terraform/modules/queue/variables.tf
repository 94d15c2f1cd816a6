variable "name" {
  description = "Name of the queue. A name that ends in `.fifo` makes a FIFO queue, which keeps the order within each message group."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,75}(\\.fifo)?$", var.name))
    error_message = "A queue's name consists of letters, digits, hyphens and underscores, and has at most 80 characters, `.fifo` included."
  }
}

variable "dead_letter_queue_name" {
  description = "Name of the dead-letter queue: `<name>-dead`, or `<name>-dead.fifo` for a FIFO queue."
  type        = string
}

variable "visibility_timeout_seconds" {
  description = "Time in seconds for which a received message stays hidden. A queue that a Lambda function reads needs at least 6 times the function's timeout."
  type        = number

  validation {
    condition     = var.visibility_timeout_seconds >= 0 && var.visibility_timeout_seconds <= 43200
    error_message = "A visibility timeout is 0 to 43,200 seconds (12 hours)."
  }
}

variable "function_timeout_seconds" {
  description = "Timeout in seconds of the Lambda function that reads the queue. Null if containers read it."
  type        = number
  default     = null

  validation {
    condition     = var.function_timeout_seconds == null ? true : var.visibility_timeout_seconds >= 6 * var.function_timeout_seconds
    error_message = "The visibility timeout is less than 6 times the function's timeout, so a message could run again while its first run goes on. Raise visibility_timeout_seconds."
  }
}

variable "message_retention_seconds" {
  description = "Time in seconds after which SQS deletes a message that nobody has received."
  type        = number
  default     = 345600

  validation {
    condition     = var.message_retention_seconds >= 60 && var.message_retention_seconds <= 1209600
    error_message = "SQS keeps messages for 60 seconds to 14 days (1,209,600 seconds)."
  }
}

variable "dead_letter_retention_seconds" {
  description = "Time in seconds for which a dead letter is kept, counted from the first send of its message."
  type        = number
  default     = 1209600

  validation {
    condition     = var.dead_letter_retention_seconds >= 60 && var.dead_letter_retention_seconds <= 1209600
    error_message = "SQS keeps messages for 60 seconds to 14 days (1,209,600 seconds)."
  }
}

variable "receive_wait_time_seconds" {
  description = "Time in seconds for which a receive call waits for a message, unless the call names a time itself."
  type        = number
  default     = 20

  validation {
    condition     = var.receive_wait_time_seconds >= 1 && var.receive_wait_time_seconds <= 20
    error_message = "Long polling waits for 1 to 20 seconds. Without it, every empty receive would cost money."
  }
}

variable "max_receive_count" {
  description = "Number of receives after which SQS itself moves a message to the dead-letter queue."
  type        = number
  default     = 5

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000
    error_message = "max_receive_count is 5 to 1,000: throttled invocations of a function use up receives."
  }
}

variable "kms_key_arn" {
  description = "ARN of your own KMS key for both queues. If null, SQS encrypts with its own key (SSE-SQS)."
  type        = string
  default     = null
}

variable "tls_only" {
  description = "Denial of calls without TLS. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "redrive_allow_policy" {
  description = "Restriction of the dead-letter queue to messages of this queue. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of both queues."
  type        = map(string)
  default     = {}
}
