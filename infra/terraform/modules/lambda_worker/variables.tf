variable "name" {
  description = "Name of the function."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "A function's name consists of 1 to 64 letters, digits, hyphens and underscores."
  }
}

variable "role_arn" {
  description = "ARN of the role that the function runs with: see the module `iam_role`."
  type        = string
}

variable "role_name" {
  description = "Name of that role, to which the module adds the permissions that `vpc`, `tracing`, `secrets`, `on_failure_arn` and `asynchronous` need. If null, the role has to have them already: see docs/terraform.md."
  type        = string
  default     = null
}

variable "queue_arn" {
  description = "ARN of the queue that the function serves."
  type        = string
}

variable "queue_visibility_timeout_seconds" {
  description = "Visibility timeout of the queue in seconds, for a comparison with the function's timeout."
  type        = number
}

variable "package" {
  description = "Code of the function: the file name of an archive that `taskq package` made, or its bucket and key in S3 with its SHA-256 in base64, or the URI of a container image with the archive in it."
  type = object({
    image_uri         = optional(string)
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })

  validation {
    condition     = length([for given in [var.package.filename != null, var.package.s3_bucket != null && var.package.s3_key != null, var.package.image_uri != null] : given if given]) == 1
    error_message = "The package has to be one of a filename, an s3_bucket with an s3_key, and an image_uri."
  }

  validation {
    condition     = var.package.image_uri == null || (var.layer_filename == null && length(var.layer_arns) == 0)
    error_message = "A function from an image has no layers: put the layer's content into the image, and leave out layer_filename and layer_arns."
  }
}

variable "image_config" {
  description = "Command, entry point and working directory of a function from an image, in place of those of the image. The command is the handler if it isn't given."
  type = object({
    command           = optional(list(string))
    entry_point       = optional(list(string))
    working_directory = optional(string)
  })
  default  = {}
  nullable = false
}

variable "layer_filename" {
  description = "File name of the layer that `taskq package --layer` made. Null if the archive contains everything."
  type        = string
  default     = null
}

variable "layer_arns" {
  description = "ARNs of further layers."
  type        = list(string)
  default     = []
}

variable "handler" {
  description = "Handler of the function."
  type        = string
  default     = "taskq_cloud.lambda_function.lambda_handler"
}

variable "runtime" {
  description = "Lambda runtime of the function. The archive has to be made for it."
  type        = string
  default     = "python3.13"

  validation {
    condition     = can(regex("^python3\\.(1[1-9]|[2-9][0-9])$", var.runtime))
    error_message = "The runtime has to be python3.11 or newer."
  }
}

variable "architecture" {
  description = "Processor architecture of the function: `x86_64` or `arm64`. The archive has to be made for it."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "timeout_seconds" {
  description = "Timeout of the function in seconds."
  type        = number

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 1800
    error_message = "A function's timeout is 1 to 1,800 seconds."
  }

  validation {
    condition     = var.queue_visibility_timeout_seconds >= 6 * var.timeout_seconds
    error_message = "The queue's visibility timeout is less than 6 times the function's timeout, so a message could run again while its first run goes on. Lower timeout_seconds, or raise the queue's visibility timeout."
  }
}

variable "memory_mb" {
  description = "Memory of the function in MiB."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "A function's memory is 128 to 10,240 MiB."
  }
}

variable "batch_size" {
  description = "Largest number of messages in one invocation. More than 10 need a standard queue and a batching window."
  type        = number
  default     = 10

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000
    error_message = "A batch has 1 to 10,000 messages."
  }

  validation {
    condition     = var.batch_size <= 10 || (var.batching_window_seconds >= 1 && !endswith(var.queue_arn, ".fifo"))
    error_message = "A batch of more than 10 messages needs a standard queue and a batching window of at least one second (batching_window_seconds)."
  }
}

variable "batching_window_seconds" {
  description = "Time in seconds for which Lambda collects a batch. With 0, it collects none; FIFO queues support no window."
  type        = number
  default     = 0

  validation {
    condition     = var.batching_window_seconds >= 0 && var.batching_window_seconds <= 300
    error_message = "A batching window is 0 to 300 seconds."
  }

  validation {
    condition     = var.batching_window_seconds == 0 || !endswith(var.queue_arn, ".fifo")
    error_message = "A FIFO queue supports no batching window: set batching_window_seconds to 0."
  }
}

variable "maximum_concurrency" {
  description = "Largest number of instances that serve the queue at once. Without a limit, a long queue would take up the account's whole concurrency."
  type        = number
  default     = 20

  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "The maximum concurrency of an event source mapping is 2 to 1,000."
  }
}

variable "provisioned_pollers" {
  description = "Event pollers that Lambda keeps for the queue, `minimum` to `maximum`, in place of `maximum_concurrency`. They follow a rising load within seconds, and are billed by the hour. Null provisions none."
  type = object({
    minimum = optional(number, 2)
    maximum = optional(number, 200)
  })
  default = null

  validation {
    condition     = var.provisioned_pollers == null ? true : var.provisioned_pollers.minimum >= 2 && var.provisioned_pollers.minimum <= 200 && var.provisioned_pollers.maximum <= 10000 && var.provisioned_pollers.minimum <= var.provisioned_pollers.maximum
    error_message = "provisioned_pollers has a minimum of 2 to 200 and a maximum of up to 10,000 that is not less than the minimum."
  }
}

variable "reserved_concurrency" {
  description = "Concurrency that is reserved for the function. Null reserves none."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null || var.provisioned_pollers != null ? true : var.reserved_concurrency >= var.maximum_concurrency
    error_message = "reserved_concurrency is less than maximum_concurrency, so invocations would be throttled, and throttled invocations use up receives. Raise it, or lower maximum_concurrency."
  }
}

variable "alias" {
  description = "Alias through which messages reach the function, and with which each change of the code is published as a version. The alias points to the version that was published last, or to `function_version`. `weights` maps further versions to the part of the invocations that they get, such as `{ \"8\" = 0.1 }`. With `code_deploy`, CodeDeploy moves the alias, and Terraform leaves its versions as they are. Null for a function without versions."
  type = object({
    name             = optional(string, "live")
    function_version = optional(string)
    weights          = optional(map(number), {})
    code_deploy      = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.alias == null ? true : can(regex("^[A-Za-z0-9_-]{1,128}$", var.alias.name)) && !can(regex("^[0-9]+$", var.alias.name))
    error_message = "An alias's name consists of 1 to 128 letters, digits, hyphens and underscores, and isn't a number."
  }

  validation {
    condition     = var.alias == null ? true : length(var.alias.weights) <= 1 && alltrue([for weight in values(var.alias.weights) : weight >= 0 && weight <= 1])
    error_message = "An alias can shift invocations to one further version, with a weight of 0 to 1."
  }

  validation {
    condition     = var.alias == null ? true : length(var.alias.weights) == 0 || (var.alias.function_version != null && !contains(keys(var.alias.weights), coalesce(var.alias.function_version, "-")))
    error_message = "Weights need a function_version, the version that gets the other invocations; without it, the alias would move to the version that was published last."
  }

  validation {
    condition     = var.alias == null ? true : !var.alias.code_deploy || (var.alias.function_version == null && length(var.alias.weights) == 0)
    error_message = "CodeDeploy chooses the versions and weights of the alias: leave out function_version and weights, or code_deploy."
  }
}

variable "provisioned_concurrency" {
  description = "Number of instances that are kept ready for the alias. They are paid for by the hour. Null keeps none."
  type        = number
  default     = null

  validation {
    condition     = var.provisioned_concurrency == null ? true : var.provisioned_concurrency >= 1 && var.alias != null
    error_message = "Provisioned concurrency is 1 or more, and needs an alias, because it belongs to a version: set alias = {}."
  }

  validation {
    condition     = var.provisioned_concurrency == null || var.reserved_concurrency == null ? true : var.provisioned_concurrency <= var.reserved_concurrency
    error_message = "provisioned_concurrency is more than reserved_concurrency, of which it is a part. Lower it, or raise reserved_concurrency."
  }
}

variable "ephemeral_storage_mb" {
  description = "Size of the function's folder `/tmp` in MiB. The first 512 are free."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.ephemeral_storage_mb >= 512 && var.ephemeral_storage_mb <= 10240
    error_message = "A function's /tmp has 512 to 10,240 MiB."
  }
}

variable "recursive_loop" {
  description = "Recursion configuration of the function. With `Allow`, a chain of messages may pass it any number of times; with `Terminate`, Lambda stops the chain after about 16 times. Workflows and retries are such chains: see docs/lambda.md."
  type        = string
  default     = "Allow"

  validation {
    condition     = contains(["Allow", "Terminate"], var.recursive_loop)
    error_message = "The recursion configuration is Allow or Terminate."
  }
}

variable "environment" {
  description = "Environment variables of the function. `TASKQ_APP` names the application."
  type        = map(string)

  validation {
    condition     = var.handler != "taskq_cloud.lambda_function.lambda_handler" || contains(keys(var.environment), "TASKQ_APP")
    error_message = "The environment has no TASKQ_APP. It names the handler's application, such as shop.tasks:app."
  }
}

variable "secrets" {
  description = "Environment variables with values from Secrets Manager or SSM, which the function reads when it starts: name of the variable to ARN of the secret. A key of a JSON secret follows the ARN, as in `<arn>:password::`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:[a-z-]+:(secretsmanager:[^:]+:[0-9]+:secret:|ssm:[^:]+:[0-9]+:parameter/)", arn))])
    error_message = "A secret is the ARN of a secret of Secrets Manager or of a parameter of SSM, and not its value: a value would be in the plan and in the state."
  }
}

variable "secrets_kms_key_arns" {
  description = "ARNs of your own KMS keys that encrypt these secrets."
  type        = list(string)
  default     = []
}

variable "enabled" {
  description = "Delivery of messages to the function. Turn it off to hold the queue."
  type        = bool
  default     = true
}

variable "log_level" {
  description = "Lowest level of log records that are kept: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "Lambda's log levels are TRACE, DEBUG, INFO, WARN, ERROR and FATAL."
  }
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs."
  type        = number
  default     = 30
}

variable "log_kms_key_arn" {
  description = "ARN of your own KMS key for the logs. If null, CloudWatch encrypts with its own key."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "ARN of your own KMS key for the environment variables. If null, Lambda encrypts with its own key."
  type        = string
  default     = null
}

variable "code_signing_config_arn" {
  description = "ARN of a code signing configuration. Null accepts unsigned code."
  type        = string
  default     = null
}

variable "tracing" {
  description = "Tracing of invocations by X-Ray."
  type        = bool
  default     = false
}

variable "snap_start" {
  description = "Start of instances from a snapshot of the initialised function (SnapStart). Only published versions have one, so the function gets an alias, as with `alias = {}`."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.snap_start || can(regex("^python3\\.(1[2-9]|[2-9][0-9])$", var.runtime))
    error_message = "SnapStart needs python3.12 or newer. Raise the runtime, or turn snap_start off."
  }

  validation {
    condition     = !var.snap_start || (var.package.image_uri == null && var.provisioned_concurrency == null && var.ephemeral_storage_mb == 512)
    error_message = "SnapStart is for functions from an archive, with 512 MiB in /tmp and without provisioned_concurrency. Change these, or turn snap_start off."
  }
}

variable "vpc" {
  description = "Subnets and security groups of a function that runs in a VPC. Null for a function outside of any VPC."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
}

variable "on_failure_arn" {
  description = "ARN of a queue or topic that gets the event of a direct asynchronous invocation which failed. If null, it is lost, unless `asynchronous` has a destination."
  type        = string
  default     = null
}

variable "asynchronous" {
  description = "Direct asynchronous invocations: how old an event may get, how often a failed invocation is repeated, and the ARNs of a queue, topic, function or event bus for the record of each invocation that succeeded or failed. Null leaves Lambda's defaults, which are 6 hours and 2 retries."
  type = object({
    maximum_age_seconds = optional(number, 21600)
    maximum_retries     = optional(number, 2)
    on_success_arn      = optional(string)
    on_failure_arn      = optional(string)
  })
  default = null

  validation {
    condition     = var.asynchronous == null ? true : var.asynchronous.maximum_age_seconds >= 60 && var.asynchronous.maximum_age_seconds <= 21600 && var.asynchronous.maximum_retries >= 0 && var.asynchronous.maximum_retries <= 2
    error_message = "Lambda keeps the event of an asynchronous invocation for 60 to 21,600 seconds, and repeats it 0 to 2 times."
  }
}

variable "tags" {
  description = "Tags of all resources of this module."
  type        = map(string)
  default     = {}
}
