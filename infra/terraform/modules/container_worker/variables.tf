variable "name" {
  description = "Name of the ECS service, and prefix of the names of its role and its alarms."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,54}$", var.name))
    error_message = "The name consists of 1 to 54 letters, digits, hyphens and underscores: the name of its execution role, `<name>-execution`, has to fit into 64."
  }
}

variable "cluster_arn" {
  description = "ARN of the ECS cluster that the service runs in. The cluster needs the capacity provider `FARGATE`, or `FARGATE_SPOT` with `spot`."
  type        = string
}

variable "cluster_name" {
  description = "Name of the ECS cluster."
  type        = string
}

variable "image" {
  description = "Container image with the application and `taskq-cloud[aws]` installed. An image with a user other than root has to declare `VOLUME /tmp`: the volume then keeps the image's permissions; otherwise only root can write to it."
  type        = string
}

variable "ecr_repository_arn" {
  description = "ARN of the image's ECR repository. Null for a public image elsewhere."
  type        = string
  default     = null
}

variable "command" {
  description = "Command of the container, such as `[\"taskq\", \"worker\", \"-A\", \"shop.tasks:app\", \"-Q\", \"orders\"]`."
  type        = list(string)
}

variable "task_role_arn" {
  description = "ARN of the role that the worker's code runs with: see the module `iam_role`."
  type        = string
}

variable "task_role_name" {
  description = "Name of that role. The module adds the permission to protect a busy container to it."
  type        = string
}

variable "environment" {
  description = "Environment variables of the container, such as `TASKQ_BROKER` and `TASKQ_RESULTS`."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables with values from Secrets Manager or SSM: name of the variable to ARN of the secret. A key of a JSON secret follows the ARN, as in `<arn>:password::`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:[a-z-]+:(secretsmanager:[^:]+:[0-9]+:secret:|ssm:[^:]+:[0-9]+:parameter/)", arn))])
    error_message = "A secret is the ARN of a secret of Secrets Manager or of a parameter of SSM, and not its value: a value would be in the plan and in the state."
  }
}

variable "secrets_kms_key_arns" {
  description = "ARNs of your own KMS keys that encrypt these secrets. No container can start without permission to decrypt its secrets."
  type        = list(string)
  default     = []
}

variable "queue_names" {
  description = "Full names of the queues whose messages decide how many containers run. With none, as for a broker outside of SQS, their processors decide, and `minimum_tasks` is at least 1."
  type        = list(string)

  validation {
    condition     = length(var.queue_names) <= 5
    error_message = "A service scales by at most 5 queues: a CloudWatch alarm takes at most 10 metrics, and each queue needs two."
  }
}

variable "cpu_units" {
  description = "CPU units of a container: 1,024 are one virtual CPU."
  type        = number
  default     = 512

  validation {
    condition     = contains(keys(local.memory_sizes), tostring(var.cpu_units))
    error_message = "Fargate offers 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "memory_mb" {
  description = "Memory of a container in MiB, in a size that Fargate offers for the CPU units."
  type        = number
  default     = 1024

  validation {
    # The validation of cpu_units reports a number of CPU units that Fargate doesn't offer.
    condition     = contains(try(local.memory_sizes[tostring(var.cpu_units)], [var.memory_mb]), var.memory_mb)
    error_message = "Fargate offers these memory sizes for ${var.cpu_units} CPU units, in MiB: ${join(", ", try(local.memory_sizes[tostring(var.cpu_units)], []))}."
  }
}

variable "architecture" {
  description = "Processor architecture of the image: `x86_64` or `arm64`."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "spot" {
  description = "Use of spare capacity at a lower price. ECS ends a spot container with two minutes' notice, and its messages return to their queues."
  type        = bool
  default     = false
}

variable "minimum_tasks" {
  description = "Number of containers that always run. With 0, none runs while the queues are empty."
  type        = number
  default     = 0

  validation {
    condition     = var.minimum_tasks >= 0 && var.minimum_tasks <= var.maximum_tasks
    error_message = "minimum_tasks is 0 to maximum_tasks."
  }
}

variable "maximum_tasks" {
  description = "Largest number of containers."
  type        = number
  default     = 4

  validation {
    condition     = var.maximum_tasks >= 1
    error_message = "maximum_tasks is at least 1."
  }
}

variable "backlog_per_task" {
  description = "Number of messages, waiting and in flight, for each container."
  type        = number
  default     = 100

  validation {
    condition     = var.backlog_per_task >= 1
    error_message = "backlog_per_task is at least 1."
  }
}

variable "idle_minutes" {
  description = "Minutes for which the queues have to be empty before containers are removed."
  type        = number
  default     = 5

  validation {
    condition     = var.idle_minutes >= 1 && var.idle_minutes <= 1440
    error_message = "idle_minutes is 1 to 1,440."
  }
}

variable "stop_timeout_seconds" {
  description = "Time in seconds from SIGTERM to SIGKILL. It has to be longer than the setting `worker_shutdown_timeout`."
  type        = number
  default     = 30

  validation {
    condition     = var.stop_timeout_seconds >= 2 && var.stop_timeout_seconds <= 120
    error_message = "Fargate waits for 2 to 120 seconds between SIGTERM and SIGKILL."
  }
}

variable "subnet_ids" {
  description = "IDs of the containers' subnets, from which SQS can be reached: by NAT, by an endpoint or with public addresses."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 1
    error_message = "A service needs at least one subnet."
  }
}

variable "security_group_ids" {
  description = "IDs of the containers' security groups. They have to allow outgoing HTTPS; incoming traffic isn't needed."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "Public addresses for the containers, for subnets without NAT."
  type        = bool
  default     = false
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

variable "permissions_boundary_arn" {
  description = "ARN of the execution role's permissions boundary, for accounts that require one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of all resources of this module."
  type        = map(string)
  default     = {}
}
