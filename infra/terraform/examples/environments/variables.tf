variable "environment" {
  description = "Name of the environment: `staging` or `production`."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "The environment is staging or production: name its file of inputs with -var-file."
  }
}

variable "account_id" {
  description = "ID of the AWS account of the environment."
  type        = string
}

variable "package_filename" {
  description = "File name of the archive that `taskq package` made."
  type        = string
  default     = "dist/lambda/function.zip"
}

variable "image" {
  description = "Container image of the workers, with the application and `taskq-cloud[aws]` installed."
  type        = string
}

variable "network" {
  description = "Subnets and security groups of the containers."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })
}

variable "secrets" {
  description = "Environment variables of functions and containers with values from Secrets Manager or SSM: name of the variable to ARN of the secret."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Protection of queues and of the table against deletion."
  type        = bool
  default     = true
}
