variable "name" {
  description = "The service's name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,54}$", var.name))
    error_message = "The name is 1 to 54 letters, digits, hyphens and underscores: its roles are called after it."
  }
}

variable "cluster_arn" {
  description = "The ECS cluster it runs in; it needs the capacity providers FARGATE or FARGATE_SPOT."
  type        = string
}

variable "cluster_name" {
  description = "The cluster's name."
  type        = string
}

variable "image" {
  description = "The container image: the application, with taskq-cloud[aws] installed. One whose user isn't root says VOLUME /tmp, which keeps its mode: a volume that the image doesn't know is root's alone."
  type        = string
}

variable "ecr_repository_arn" {
  description = "The ECR repository of the image; null where the image is elsewhere and public."
  type        = string
  default     = null
}

variable "command" {
  description = "What a container runs: taskq worker -A shop.tasks:app -Q orders."
  type        = list(string)
}

variable "task_role_arn" {
  description = "The role that tasks run as: see the module iam_role."
  type        = string
}

variable "task_role_name" {
  description = "Its name: the permission to protect its container is added to it."
  type        = string
}

variable "environment" {
  description = "The containers' variables: TASKQ_BROKER, TASKQ_RESULTS."
  type        = map(string)
}

variable "secrets" {
  description = "Variables whose values are in Secrets Manager or SSM: name to ARN."
  type        = map(string)
  default     = {}
}

variable "secrets_kms_key_arns" {
  description = "Your own KMS keys that those are encrypted with: without leave to decrypt, no container starts."
  type        = list(string)
  default     = []
}

variable "queue_names" {
  description = "The queues, by their full names, whose work decides how many containers run."
  type        = list(string)

  validation {
    condition     = length(var.queue_names) >= 1 && length(var.queue_names) <= 5
    error_message = "A service is scaled by 1 to 5 queues: an alarm takes at most 10 metrics, two for each."
  }
}

variable "cpu_units" {
  description = "1,024 are a virtual CPU."
  type        = number
  default     = 512

  validation {
    condition     = contains(keys(local.memory_sizes), tostring(var.cpu_units))
    error_message = "Fargate has 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "memory_mb" {
  description = "In MiB, as Fargate has it for the CPU units."
  type        = number
  default     = 1024

  validation {
    # Of CPU units that there are none of, their own validation speaks.
    condition     = contains(try(local.memory_sizes[tostring(var.cpu_units)], [var.memory_mb]), var.memory_mb)
    error_message = "Fargate has for ${var.cpu_units} CPU units memory of ${join(", ", try(local.memory_sizes[tostring(var.cpu_units)], []))} MiB, and none between."
  }
}

variable "architecture" {
  description = "x86_64 or arm64, as the image is."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "spot" {
  description = "Whether containers run on spare capacity, for less; ECS ends one with two minutes' notice, and its messages go back."
  type        = bool
  default     = false
}

variable "minimum_tasks" {
  description = "Containers that always run; 0: none while the queues are empty."
  type        = number
  default     = 0

  validation {
    condition     = var.minimum_tasks >= 0 && var.minimum_tasks <= var.maximum_tasks
    error_message = "minimum_tasks is 0 to maximum_tasks."
  }
}

variable "maximum_tasks" {
  description = "Containers at most."
  type        = number
  default     = 4

  validation {
    condition     = var.maximum_tasks >= 1
    error_message = "maximum_tasks is at least 1."
  }
}

variable "backlog_per_task" {
  description = "Messages, waiting and in flight, that one container is to have."
  type        = number
  default     = 100

  validation {
    condition     = var.backlog_per_task >= 1
    error_message = "backlog_per_task is at least 1."
  }
}

variable "idle_minutes" {
  description = "How long the queues are empty before containers are ended."
  type        = number
  default     = 5

  validation {
    condition     = var.idle_minutes >= 1 && var.idle_minutes <= 1440
    error_message = "idle_minutes is 1 to 1,440."
  }
}

variable "stop_timeout_seconds" {
  description = "From SIGTERM to SIGKILL; longer than worker_shutdown_timeout."
  type        = number
  default     = 30

  validation {
    condition     = var.stop_timeout_seconds >= 2 && var.stop_timeout_seconds <= 120
    error_message = "Fargate waits for 2 to 120 seconds."
  }
}

variable "subnet_ids" {
  description = "Where containers run; they have to reach SQS: by NAT, an endpoint, or a public address."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 1
    error_message = "A service needs a subnet."
  }
}

variable "security_group_ids" {
  description = "Nothing has to come in; HTTPS has to go out."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "Whether containers have public addresses."
  type        = bool
  default     = false
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

variable "permissions_boundary_arn" {
  description = "The execution role's permissions boundary, where the account demands one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
