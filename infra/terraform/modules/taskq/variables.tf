# What `taskq topology` writes: pass the whole file.

variable "name" {
  description = "What everything is called after."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "The name is 1 to 32 small letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "The region of the application's broker; null: the provider's."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "A KMS key of your own for queues, tables and buckets; null: the services' own."
  type        = string
  default     = null
}

variable "environment" {
  description = "The settings of whoever calls tasks."
  type        = map(string)
  default     = {}
}

variable "queues" {
  description = "By the application's names."
  type = map(object({
    name                          = string
    fifo                          = bool
    runtime                       = string
    visibility_timeout_seconds    = number
    message_retention_seconds     = number
    max_receive_count             = number
    receive_wait_time_seconds     = optional(number, 20)
    dead_letter_queue_name        = string
    dead_letter_retention_seconds = number
  }))
}

variable "functions" {
  description = "Lambda functions, by the queue that each serves."
  type = map(object({
    name                    = string
    role                    = string
    queue                   = string
    timeout_seconds         = number
    memory_mb               = number
    batch_size              = number
    batching_window_seconds = number
    maximum_concurrency     = number
    reserved_concurrency    = optional(number)
    environment             = map(string)
  }))
  default = {}
}

variable "services" {
  description = "Containers, by name."
  type = map(object({
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
  }))
  default = {}
}

variable "tables" {
  description = "Tables of DynamoDB, by name."
  type = map(object({
    name          = string
    region        = optional(string)
    hash_key      = string
    ttl_attribute = string
  }))
  default = {}
}

variable "buckets" {
  description = "Buckets, by name; those of other providers than aws are left to their own modules."
  type = map(object({
    name     = string
    provider = string
    region   = optional(string)
    endpoint = optional(string)
    lifecycle_rules = map(object({
      prefix      = string
      expire_days = number
    }))
  }))
  default = {}
}

variable "roles" {
  description = "Roles and policies, by name."
  type = map(object({
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
  }))
  default = {}

  validation {
    condition     = var.schedule_group == null ? true : !contains(keys(var.roles), var.schedule_group.role_name)
    error_message = "The role of the schedule group is among the roles: it is made with the group. Write the variables anew with `taskq topology`."
  }
}

variable "schedule_group" {
  description = "The schedule group; null: there are no schedules."
  type = object({
    name                          = string
    role_name                     = string
    role_path                     = optional(string, "/")
    dead_letter_queue_name        = optional(string)
    dead_letter_retention_seconds = optional(number)
  })
  default = null
}

variable "schedules" {
  description = "Schedules, by name."
  type = map(object({
    name                    = optional(string)
    expression              = string
    timezone                = optional(string, "UTC")
    queue                   = string
    input                   = string
    message_group_id        = optional(string)
    flexible_window_minutes = optional(number)
    enabled                 = optional(bool, true)
    end_date                = optional(string)
    description             = optional(string, "")
  }))
  default = {}
}
