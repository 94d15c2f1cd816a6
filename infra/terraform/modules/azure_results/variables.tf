variable "account_name" {
  description = "Name of the storage account."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.account_name))
    error_message = "A storage account's name consists of 3 to 24 lower-case letters and digits."
  }
}

variable "resource_group_name" {
  description = "Name of the account's resource group."
  type        = string
}

variable "location" {
  description = "Location of the account, such as `westeurope`."
  type        = string
}

variable "container_name" {
  description = "Name of the container."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9]){2,62}$", var.container_name))
    error_message = "A container's name consists of 3 to 63 lower-case letters, digits and single hyphens."
  }
}

variable "lifecycle_rules" {
  description = "Expiry rules, by name: Azure deletes blobs whose name begins with `prefix` after `expire_days` days. The prefix doesn't contain the container's name."
  type = map(object({
    prefix      = string
    expire_days = number
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in values(var.lifecycle_rules) : rule.expire_days >= 1])
    error_message = "A lifecycle rule deletes blobs after one day at the earliest: set expire_days to 1 or more."
  }
}

variable "principal_ids" {
  description = "Object IDs of managed identities that call or run tasks. They may read and write blobs of the container."
  type        = list(string)
  default     = []
}

variable "replication" {
  description = "Replication of the account: `LRS`, `ZRS`, `GRS` or another of Azure's kinds."
  type        = string
  default     = "LRS"
}

variable "shared_access_keys" {
  description = "Access with the account's keys in addition to identities. If off, there are no keys that could leak."
  type        = bool
  default     = false
}

variable "allowed_ip_ranges" {
  description = "Public IP addresses and ranges that can reach the account. With neither these nor `subnet_ids`, every address can."
  type        = list(string)
  default     = []
}

variable "subnet_ids" {
  description = "IDs of subnets that can reach the account."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of the storage account."
  type        = map(string)
  default     = {}
}
