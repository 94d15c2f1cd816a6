variable "name" {
  description = "Name of the table."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.name))
    error_message = "A table's name consists of 3 to 255 letters, digits, dots, hyphens and underscores."
  }
}

variable "region" {
  description = "Region in which the application looks for the table. If null, it is the provider's region, in which the table is made."
  type        = string
  default     = null
}

variable "hash_key" {
  description = "Name of the key attribute."
  type        = string
  default     = "id"
}

variable "ttl_attribute" {
  description = "Name of the attribute that holds an item's expiry time."
  type        = string
  default     = "ttl"
}

variable "kms_key_arn" {
  description = "ARN of your own KMS key for the table. If null, DynamoDB encrypts with its own key."
  type        = string
  default     = null
}

variable "point_in_time_recovery" {
  description = "Recovery of the table to an earlier point in time."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Protection of the table against deletion."
  type        = bool
  default     = true
}

variable "tls_only" {
  description = "Denial of calls without TLS. Turn it off for a local stack only."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of the table."
  type        = map(string)
  default     = {}
}
