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

variable "senders" {
  description = "Senders besides the application's own roles, by names of your choice. A sender is either a `service`, such as `s3.amazonaws.com`, that sends for the bucket, topic or rule with the ARN `source_arn`, or the roles or accounts in `principal_arns`. `source_account` is the account of a bucket, by default the account of the queue."
  type = map(object({
    service        = optional(string)
    source_arn     = optional(string)
    source_account = optional(string)
    principal_arns = optional(list(string))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.senders) : can(regex("^[A-Za-z0-9_-]{1,64}$", name))])
    error_message = "A sender's name consists of 1 to 64 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for sender in values(var.senders) : (sender.service != null) != (sender.principal_arns != null)])
    error_message = "A sender has either a service with a source_arn, or principal_arns."
  }

  validation {
    condition     = alltrue([for sender in values(var.senders) : sender.service == null ? true : can(regex("^[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?$", sender.service)) && sender.source_arn != null])
    error_message = "A sender that is a service is named like s3.amazonaws.com, and needs the source_arn of its bucket, topic or rule. Without it, the service would send messages for every account of AWS."
  }

  validation {
    condition     = alltrue([for sender in values(var.senders) : sender.source_arn == null ? true : can(regex("^arn:[a-z-]+:[a-z0-9-]+:[^*?]+$", sender.source_arn))])
    error_message = "A sender's source_arn is the whole ARN of one bucket, topic or rule, without wildcards."
  }

  validation {
    condition     = alltrue(flatten([for sender in values(var.senders) : [for arn in coalesce(sender.principal_arns, []) : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(root|(role|user)/[^*?]+)$", arn))]]))
    error_message = "A sender's principal_arns are ARNs of roles, users or accounts, such as arn:aws:iam::123456789012:role/web or arn:aws:iam::123456789012:root, without wildcards."
  }

  validation {
    condition     = !endswith(var.name, ".fifo") || alltrue([for sender in values(var.senders) : sender.service == "s3.amazonaws.com" ? false : sender.service == "sns.amazonaws.com" ? endswith(coalesce(sender.source_arn, ".fifo"), ".fifo") : true])
    error_message = "S3 sends no notifications to a FIFO queue, and SNS sends to one from a FIFO topic only. Send to a standard queue, or by a rule of EventBridge with a message group."
  }
}

variable "deletion_protection" {
  description = "Protection of both queues against deletion, by a denial in the policy. To delete them, first apply with false. On a local stack (`tls_only = false`) there is no policy, and no protection."
  type        = bool
  default     = true
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
