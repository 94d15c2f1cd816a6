variable "name" {
  description = "Name of the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.name))
    error_message = "A bucket's name consists of 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "region" {
  description = "Region in which the application looks for the bucket. If null, it is the provider's region, in which the bucket is made."
  type        = string
  default     = null
}

variable "lifecycle_rules" {
  description = "Expiry rules, by id: S3 deletes objects whose key begins with `prefix` after `expire_days` days."
  type = map(object({
    prefix      = string
    expire_days = number
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in values(var.lifecycle_rules) : rule.expire_days >= 1])
    error_message = "A lifecycle rule deletes objects after one day at the earliest: set expire_days to 1 or more."
  }
}

variable "kms_key_arn" {
  description = "ARN of your own KMS key for the bucket. If null, S3 encrypts with its own key (SSE-S3)."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Deletion of the bucket's objects along with the bucket."
  type        = bool
  default     = false
}

variable "tls_only" {
  description = "Denial of calls without TLS. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
}
