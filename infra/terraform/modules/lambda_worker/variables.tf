variable "name" {
  description = "The function's name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "A function's name is 1 to 64 letters, digits, hyphens and underscores."
  }
}

variable "role_arn" {
  description = "The role that the function runs as: see the module iam_role."
  type        = string
}

variable "role_name" {
  description = "Its name: what a VPC, tracing and on_failure_arn take is added to it. null: the role has it, see docs/terraform.md."
  type        = string
  default     = null
}

variable "queue_arn" {
  description = "The queue that it serves."
  type        = string
}

variable "queue_visibility_timeout_seconds" {
  description = "The queue's visibility timeout, to be held against the function's."
  type        = number
}

variable "package" {
  description = "The archive that `taskq package` has made: its filename, or where it is in S3 with its SHA-256 in base64."
  type = object({
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })

  validation {
    condition     = (var.package.filename != null) != (var.package.s3_bucket != null && var.package.s3_key != null)
    error_message = "The package is a filename, or an s3_bucket and s3_key: one of the two."
  }
}

variable "layer_filename" {
  description = "The layer that `taskq package --layer` has made; null: there is none."
  type        = string
  default     = null
}

variable "layer_arns" {
  description = "Other layers."
  type        = list(string)
  default     = []
}

variable "handler" {
  description = "The function's handler."
  type        = string
  default     = "taskq_cloud.lambda_function.lambda_handler"
}

variable "runtime" {
  description = "Lambda's runtime; the package has to be made for it."
  type        = string
  default     = "python3.13"

  validation {
    condition     = can(regex("^python3\\.(1[1-9]|[2-9][0-9])$", var.runtime))
    error_message = "The runtime is python3.11 or newer."
  }
}

variable "architecture" {
  description = "x86_64 or arm64; the package has to be made for it."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "timeout_seconds" {
  description = "The function's timeout."
  type        = number

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "A function's timeout is 1 to 900 seconds."
  }

  validation {
    condition     = var.queue_visibility_timeout_seconds >= 6 * var.timeout_seconds
    error_message = "The queue's visibility timeout must be at least 6 times the function's timeout: shorter, and a message is run again while its first run goes on."
  }
}

variable "memory_mb" {
  description = "Its memory, in MiB."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "A function's memory is 128 to 10,240 MiB."
  }
}

variable "batch_size" {
  description = "Messages for one invocation."
  type        = number
  default     = 10

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000
    error_message = "A batch is 1 to 10,000 messages."
  }

  validation {
    condition     = var.batch_size <= 10 || (var.batching_window_seconds >= 1 && !endswith(var.queue_arn, ".fifo"))
    error_message = "A batch of more than 10 messages takes a batching window of at least a second, and a standard queue."
  }
}

variable "batching_window_seconds" {
  description = "How long Lambda collects a batch; 0: not at all. Not on FIFO queues."
  type        = number
  default     = 0

  validation {
    condition     = var.batching_window_seconds >= 0 && var.batching_window_seconds <= 300
    error_message = "A batching window is 0 to 300 seconds."
  }

  validation {
    condition     = var.batching_window_seconds == 0 || !endswith(var.queue_arn, ".fifo")
    error_message = "A FIFO queue has no batching window."
  }
}

variable "maximum_concurrency" {
  description = "Instances that the queue may have: without a bound a deep queue takes the account's whole concurrency."
  type        = number
  default     = 20

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "Lambda's maximum concurrency of an event source is 2 to 1,000."
  }
}

variable "reserved_concurrency" {
  description = "Concurrency set aside for the function; null: none."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= var.maximum_concurrency
    error_message = "Less reserved concurrency than maximum_concurrency throttles invocations, which uses receives up."
  }
}

variable "environment" {
  description = "The function's variables. TASKQ_APP names the application."
  type        = map(string)

  validation {
    condition     = var.handler != "taskq_cloud.lambda_function.lambda_handler" || contains(keys(var.environment), "TASKQ_APP")
    error_message = "The environment lacks TASKQ_APP, which tells the handler its application: shop.tasks:app."
  }
}

variable "enabled" {
  description = "Whether the function is fed. Turn it off to hold the queue."
  type        = bool
  default     = true
}

variable "log_level" {
  description = "What is logged: TRACE, DEBUG, INFO, WARN, ERROR or FATAL."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "Lambda's log levels are TRACE, DEBUG, INFO, WARN, ERROR and FATAL."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
}

variable "log_kms_key_arn" {
  description = "A KMS key for the logs; null: CloudWatch's own."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "A KMS key for the environment; null: Lambda's own."
  type        = string
  default     = null
}

variable "code_signing_config_arn" {
  description = "A code signing configuration; null: none."
  type        = string
  default     = null
}

variable "tracing" {
  description = "Whether X-Ray traces invocations."
  type        = bool
  default     = false
}

variable "vpc" {
  description = "Subnets and security groups, where the function must be in a VPC; null: it is in none."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
}

variable "on_failure_arn" {
  description = "A queue or topic for asynchronous direct invocations that fail; null: none."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
