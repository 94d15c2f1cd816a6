variable "account_name" {
  description = "The storage account's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.account_name))
    error_message = "A storage account's name is 3 to 24 small letters and digits."
  }
}

variable "resource_group_name" {
  description = "The resource group it is in."
  type        = string
}

variable "location" {
  description = "Where it is: westeurope."
  type        = string
}

variable "container_name" {
  description = "The container of the results."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9]){2,62}$", var.container_name))
    error_message = "A container's name is 3 to 63 small letters, digits and single hyphens."
  }
}

variable "lifecycle_rules" {
  description = "By name: what begins with the prefix, after the container's name, is removed after so many days."
  type = map(object({
    prefix      = string
    expire_days = number
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in values(var.lifecycle_rules) : rule.expire_days >= 1])
    error_message = "A lifecycle rule removes blobs after at least one whole day."
  }
}

variable "principal_ids" {
  description = "Managed identities that call tasks or run them: they read and write blobs of the container."
  type        = list(string)
  default     = []
}

variable "replication" {
  description = "LRS, ZRS, GRS or another of Azure's kinds."
  type        = string
  default     = "LRS"
}

variable "shared_access_keys" {
  description = "Whether the account's keys work, beside identities. Off: nothing to leak."
  type        = bool
  default     = false
}

variable "allowed_ip_ranges" {
  description = "Public addresses that reach the account, where it is not open to all of them."
  type        = list(string)
  default     = []
}

variable "subnet_ids" {
  description = "Subnets that reach it, likewise."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
