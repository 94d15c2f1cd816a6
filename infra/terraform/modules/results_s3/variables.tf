variable "name" {
  description = "The bucket's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.name))
    error_message = "A bucket's name is 3 to 63 small letters, digits, dots and hyphens."
  }
}

variable "region" {
  description = "Where the application looks for the bucket; null: in the provider's region, where it is made."
  type        = string
  default     = null
}

variable "lifecycle_rules" {
  description = "By id: what begins with the prefix is removed after so many days."
  type = map(object({
    prefix      = string
    expire_days = number
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in values(var.lifecycle_rules) : rule.expire_days >= 1])
    error_message = "A lifecycle rule removes objects after at least one whole day."
  }
}

variable "kms_key_arn" {
  description = "A KMS key of your own; null: S3's (SSE-S3)."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether destroying the bucket destroys what is in it."
  type        = bool
  default     = false
}

variable "tls_only" {
  description = "Whether calls without TLS are denied. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
