variable "name" {
  description = "The table's name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.name))
    error_message = "A table's name is 3 to 255 letters, digits, dots, hyphens and underscores."
  }
}

variable "region" {
  description = "Where the application looks for the table; null: in the provider's region, where it is made."
  type        = string
  default     = null
}

variable "hash_key" {
  description = "Its key."
  type        = string
  default     = "id"
}

variable "ttl_attribute" {
  description = "The attribute that says when an item expires."
  type        = string
  default     = "ttl"
}

variable "kms_key_arn" {
  description = "A KMS key of your own; null: DynamoDB's."
  type        = string
  default     = null
}

variable "point_in_time_recovery" {
  description = "Whether the table can be restored to an earlier moment."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  type        = bool
  default     = true
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
