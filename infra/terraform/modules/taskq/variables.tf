variable "declared" {
  description = "Declaration of the application, in the shape that `taskq topology` writes: `jsondecode(file(\"taskq.tfvars.json\"))`. Attributes that this module doesn't need are ignored."
  type = object({
    name        = string
    region      = optional(string)
    kms_key_arn = optional(string)
    environment = optional(map(string), {})
    queues = map(object({
      name                          = string
      visibility_timeout_seconds    = number
      message_retention_seconds     = number
      max_receive_count             = number
      receive_wait_time_seconds     = optional(number, 20)
      dead_letter_queue_name        = string
      dead_letter_retention_seconds = number
    }))
    functions = optional(map(object({
      name                    = string
      role                    = string
      queue                   = string
      timeout_seconds         = number
      memory_mb               = number
      batch_size              = number
      batching_window_seconds = number
      maximum_concurrency     = optional(number)
      provisioned_pollers = optional(object({
        minimum = number
        maximum = number
      }))
      reserved_concurrency = optional(number)
      recursive_loop       = optional(string, "Allow")
      environment          = map(string)
    })), {})
    services = optional(map(object({
      name                 = string
      role                 = string
      queues               = list(string)
      command              = list(string)
      cpu_units            = number
      memory_mb            = number
      minimum_tasks        = number
      maximum_tasks        = number
      backlog_per_task     = number
      stop_timeout_seconds = number
      environment          = map(string)
    })), {})
    tables = optional(map(object({
      name          = string
      region        = optional(string)
      hash_key      = string
      ttl_attribute = string
    })), {})
    buckets = optional(map(object({
      name     = string
      provider = string
      region   = optional(string)
      lifecycle_rules = map(object({
        prefix      = string
        expire_days = number
      }))
    })), {})
    roles = optional(map(object({
      assumed_by = optional(string)
      statements = map(object({
        actions   = list(string)
        resources = list(string)
        conditions = optional(list(object({
          operator = string
          key      = string
          values   = list(string)
        })), [])
      }))
    })), {})
    servers = optional(map(object({
      kind = string
      addresses = list(object({
        host = string
        port = number
      }))
      uses = list(object({
        variable = string
        secret   = bool
      }))
    })), {})
    schedule_group = optional(object({
      name                          = string
      role_name                     = string
      role_path                     = optional(string, "/")
      kms_key_arn                   = optional(string)
      dead_letter_queue_name        = optional(string)
      dead_letter_retention_seconds = optional(number)
    }))
    schedules = optional(map(object({
      expression              = string
      timezone                = optional(string, "UTC")
      queue                   = string
      input                   = string
      message_group_id        = optional(string)
      flexible_window_minutes = optional(number)
      enabled                 = optional(bool, true)
      end_date                = optional(string)
      description             = optional(string, "")
    })), {})
  })
  nullable = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.declared.name))
    error_message = "The application's name consists of 1 to 32 lower-case letters, digits and hyphens, and begins with a letter."
  }

  validation {
    condition     = var.declared.schedule_group == null ? true : !contains(keys(var.declared.roles), var.declared.schedule_group.role_name)
    error_message = "The role of the schedule group is also among the roles, so it would be made twice. Write the declaration again with `taskq topology`."
  }
}

variable "package" {
  description = "Code of every function: the file name of an archive that `taskq package` made, or its bucket and key in S3 with its SHA-256 in base64, or the URI of a container image with the archive in it."
  type = object({
    image_uri         = optional(string)
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })
  default = null

  validation {
    condition     = length(var.declared.functions) == 0 || var.package != null || length(setsubtract(keys(var.declared.functions), keys(var.packages))) == 0
    error_message = "The application declares functions, and there is no archive for them. Run `taskq package`, and set package = { filename = \"dist/lambda/function.zip\" }."
  }
}

variable "packages" {
  description = "Code of single functions, by the queue that each function serves, in place of `package`."
  type = map(object({
    image_uri         = optional(string)
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  }))
  default = {}
}

variable "function" {
  description = "Options of every function: the inputs of the module `lambda_worker` with the same names. `vpc` is that of `function_vpc` if it isn't given, and the keys are the declared one."
  type = object({
    alias = optional(object({
      name             = optional(string, "live")
      function_version = optional(string)
      weights          = optional(map(number), {})
      code_deploy      = optional(bool, false)
    }))
    provisioned_concurrency = optional(number)
    snap_start              = optional(bool, false)
    ephemeral_storage_mb    = optional(number, 512)
    enabled                 = optional(bool, true)
    vpc = optional(object({
      subnet_ids         = list(string)
      security_group_ids = list(string)
    }))
    image_config = optional(object({
      command           = optional(list(string))
      entry_point       = optional(list(string))
      working_directory = optional(string)
    }), {})
    code_signing_config_arn = optional(string)
    on_failure_arn          = optional(string)
    asynchronous = optional(object({
      maximum_age_seconds = optional(number, 21600)
      maximum_retries     = optional(number, 2)
      on_success_arn      = optional(string)
      on_failure_arn      = optional(string)
    }))
    kms_key_arn        = optional(string)
    log_level          = optional(string, "INFO")
    log_kms_key_arn    = optional(string)
    log_retention_days = optional(number)
    tags               = optional(map(string), {})
  })
  default  = {}
  nullable = false
}

variable "functions" {
  description = "Options of single functions, by the queue that each function serves. They replace those of `function`, one by one."
  type = map(object({
    alias = optional(object({
      name             = optional(string, "live")
      function_version = optional(string)
      weights          = optional(map(number), {})
      code_deploy      = optional(bool, false)
    }))
    provisioned_concurrency = optional(number)
    snap_start              = optional(bool)
    ephemeral_storage_mb    = optional(number)
    enabled                 = optional(bool)
    vpc = optional(object({
      subnet_ids         = list(string)
      security_group_ids = list(string)
    }))
    image_config = optional(object({
      command           = optional(list(string))
      entry_point       = optional(list(string))
      working_directory = optional(string)
    }))
    code_signing_config_arn = optional(string)
    on_failure_arn          = optional(string)
    asynchronous = optional(object({
      maximum_age_seconds = optional(number, 21600)
      maximum_retries     = optional(number, 2)
      on_success_arn      = optional(string)
      on_failure_arn      = optional(string)
    }))
    kms_key_arn        = optional(string)
    log_level          = optional(string)
    log_kms_key_arn    = optional(string)
    log_retention_days = optional(number)
    tags               = optional(map(string))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.functions), keys(var.declared.functions))) == 0
    error_message = "No function serves ${join(", ", sort(setsubtract(keys(var.functions), keys(var.declared.functions))))}. Functions serve ${join(", ", sort(keys(var.declared.functions)))}."
  }
}

variable "layer_filename" {
  description = "File name of the layer that `taskq package --layer` made, which all functions share. Null if the archives contain everything."
  type        = string
  default     = null
}

variable "layer_arns" {
  description = "ARNs of further layers of every function."
  type        = list(string)
  default     = []
}

variable "runtime" {
  description = "Lambda runtime of the functions. The archives have to be made for it."
  type        = string
  default     = "python3.13"
}

variable "architecture" {
  description = "Processor architecture of functions and containers: `x86_64` or `arm64`. Archives and images have to be made for it."
  type        = string
  default     = "x86_64"
}

variable "function_vpc" {
  description = "Subnets and security groups of functions that run in a VPC. Null for functions outside of any VPC."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
}

variable "image" {
  description = "Container image of the services, with the application and `taskq-cloud[aws]` installed."
  type        = string
  default     = null

  validation {
    condition     = length(var.declared.services) == 0 || var.image != null
    error_message = "The application declares services, and image is null. Set image to a container image with the application and taskq-cloud[aws] installed."
  }
}

variable "ecr_repository_arn" {
  description = "ARN of the image's ECR repository. Null for a public image elsewhere."
  type        = string
  default     = null
}

variable "network" {
  description = "Subnets and security groups of the containers."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })
  default = null

  validation {
    condition     = length(var.declared.services) == 0 || var.network != null
    error_message = "The application declares services, and network is null. Set network = { subnet_ids = [...], security_group_ids = [...] }."
  }
}

variable "cluster" {
  description = "ECS cluster of the services. If null, the module makes one."
  type = object({
    arn  = string
    name = string
  })
  default = null
}

variable "spot" {
  description = "Use of spare capacity for containers, at a lower price."
  type        = bool
  default     = false
}

variable "secrets" {
  description = "Environment variables of functions and containers with values from Secrets Manager or SSM: name of the variable to ARN of the secret. A key of a JSON secret follows the ARN, as in `<arn>:password::`."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract([for use in flatten(values(var.declared.servers)[*].uses) : use.variable if use.secret], keys(var.secrets))) == 0
    error_message = "The application's URLs of servers hold passwords, so they aren't in its declaration. Keep each of them in a secret, and name its ARN in secrets: ${join(", ", sort(setsubtract([for use in flatten(values(var.declared.servers)[*].uses) : use.variable if use.secret], keys(var.secrets))))}."
  }
}

variable "server_access" {
  description = "Way to the declared servers of messages (`broker`) and results (`results`), for containers and functions in the VPC `vpc_id`: see the module `server_access`. `ports` are the declared ones if they aren't given. Servers that share a security group and a port are listed once. Null if your own security groups open the way."
  type = object({
    vpc_id = string
    servers = map(object({
      ports             = optional(list(number))
      security_group_id = optional(string)
      cidr_ipv4         = optional(string)
      connect_arns      = optional(list(string), [])
    }))
  })
  default = null

  validation {
    condition     = length(setsubtract(keys(try(var.server_access.servers, {})), keys(var.declared.servers))) == 0
    error_message = "The application has no server of this name: ${join(", ", sort(setsubtract(keys(try(var.server_access.servers, {})), keys(var.declared.servers))))}. Its servers are: ${join(", ", sort(keys(var.declared.servers)))}."
  }

  validation {
    condition     = var.server_access == null ? true : length(var.declared.functions) == 0 || var.function_vpc != null || alltrue([for key in keys(var.declared.functions) : try(coalesce(var.functions[key].vpc, var.function.vpc), var.function.vpc) != null])
    error_message = "Functions outside of a VPC can't reach the application's servers. Set function_vpc = { subnet_ids = [...], security_group_ids = [] }."
  }
}

variable "secrets_kms_key_arns" {
  description = "ARNs of your own KMS keys that encrypt these secrets."
  type        = list(string)
  default     = []
}

variable "senders" {
  description = "Senders of events and of other accounts' tasks, by the application's names for queues and then by names of your choice: see the module `queue`."
  type = map(map(object({
    service        = optional(string)
    source_arn     = optional(string)
    source_account = optional(string)
    principal_arns = optional(list(string))
  })))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.senders), keys(var.declared.queues))) == 0
    error_message = "The senders of ${join(", ", sort(setsubtract(keys(var.senders), keys(var.declared.queues))))} have no queue. The application's queues are ${join(", ", sort(keys(var.declared.queues)))}."
  }
}

variable "observability" {
  description = "Alarms and dashboard. `emails` are addresses to notify, by a topic of the module, and `alarm_topic_arns` your own topics. `failed_tasks_allowed` is the number of failed tasks of one function or service in five minutes up to which no alarm is raised. `oldest_message_seconds` maps the application's names for queues to the age of the oldest message that raises an alarm, 900 if a queue isn't listed. Null makes neither alarms nor a dashboard."
  type = object({
    emails                 = optional(list(string), [])
    alarm_topic_arns       = optional(list(string), [])
    failed_tasks_allowed   = optional(number, 0)
    oldest_message_seconds = optional(map(number), {})
    dashboard              = optional(bool, true)
  })
  default = {}
}

variable "tracing" {
  description = "Tracing of the functions by X-Ray."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs."
  type        = number
  default     = 30
}

variable "point_in_time_recovery" {
  description = "Recovery of tables to an earlier point in time."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Protection of queues, of tables and of buckets that aren't empty against deletion. To delete one of them, first apply with false."
  type        = bool
  default     = true
}

variable "unprotected_queues" {
  description = "Application's names of drained queues, which lose their protection against deletion. To drop or rename a queue, first apply with its name here."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "ARN of the roles' permissions boundary, for accounts that require one."
  type        = string
  default     = null
}

variable "local_stack" {
  description = "Deployment to a local stack, which supports neither TLS nor resource policies."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
