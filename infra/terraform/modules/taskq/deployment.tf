# What the application can't know: archives, images, networks, and how careful the account is to be.

variable "package" {
  description = "The archive that `taskq package` has made, for every function: see lambda_worker."
  type = object({
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })
  default = null

  validation {
    condition     = length(var.functions) == 0 || var.package != null || length(setsubtract(keys(var.functions), keys(var.packages))) == 0
    error_message = "There are functions, and no package for them: package = { filename = \"dist/lambda/function.zip\" }, made by `taskq package`."
  }
}

variable "packages" {
  description = "Archives of single functions, by the queue that each serves, where they have their own."
  type = map(object({
    filename          = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  }))
  default = {}
}

variable "layer_filename" {
  description = "The layer that `taskq package --layer` has made; null: there is none."
  type        = string
  default     = null
}

variable "layer_arns" {
  description = "Other layers of every function."
  type        = list(string)
  default     = []
}

variable "runtime" {
  description = "The functions' runtime; packages have to be made for it."
  type        = string
  default     = "python3.13"
}

variable "architecture" {
  description = "x86_64 or arm64; packages and images have to be made for it."
  type        = string
  default     = "x86_64"
}

variable "function_vpc" {
  description = "Subnets and security groups of functions that must be in a VPC."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
}

variable "image" {
  description = "The image of the services' containers."
  type        = string
  default     = null

  validation {
    condition     = length(var.services) == 0 || var.image != null
    error_message = "There are services, and no image for them: image = \"...\", with the application and taskq-cloud[aws] installed."
  }
}

variable "ecr_repository_arn" {
  description = "The ECR repository of the image; null where it is elsewhere and public."
  type        = string
  default     = null
}

variable "network" {
  description = "Where containers run."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })
  default = null

  validation {
    condition     = length(var.services) == 0 || var.network != null
    error_message = "There are services, and no network for them: network = { subnet_ids = [...], security_group_ids = [...] }."
  }
}

variable "cluster" {
  description = "The ECS cluster of the services; null: one is made."
  type = object({
    arn  = string
    name = string
  })
  default = null
}

variable "spot" {
  description = "Whether containers run on spare capacity."
  type        = bool
  default     = false
}

variable "secrets" {
  description = "The containers' variables whose values are in Secrets Manager or SSM: name to ARN."
  type        = map(string)
  default     = {}
}

variable "secrets_kms_key_arns" {
  description = "Your own KMS keys that those are encrypted with."
  type        = list(string)
  default     = []
}

variable "observability" {
  description = "Alarms and dashboard; null: none. oldest_message_seconds by the application's names of queues, 900 where a queue is not in it."
  type = object({
    alarm_topic_arns       = optional(list(string), [])
    oldest_message_seconds = optional(map(number), {})
    dashboard              = optional(bool, true)
  })
  default = {}
}

variable "tracing" {
  description = "Whether X-Ray traces the functions."
  type        = bool
  default     = false
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
}

variable "point_in_time_recovery" {
  description = "Whether tables can be restored to an earlier moment."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether tables and full buckets refuse to be deleted."
  type        = bool
  default     = true
}

variable "permissions_boundary_arn" {
  description = "The roles' permissions boundary, where the account demands one."
  type        = string
  default     = null
}

variable "local_stack" {
  description = "Whether this is a local stack, which speaks no TLS and knows no resource policies."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
