variable "name" {
  description = "The role's name, or the policy's."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.name))
    error_message = "A role's name is 1 to 64 letters, digits and + = , . @ _ -."
  }
}

variable "assumed_by" {
  description = "The service that assumes the role: lambda.amazonaws.com. null: no role is made, but a policy to attach."
  type        = string
  default     = null
}

variable "statements" {
  description = "By sid. ARNs may hold the placeholders {partition}, {region} and {account}."
  type = map(object({
    actions   = list(string)
    resources = list(string)
    conditions = optional(list(object({
      operator = string
      key      = string
      values   = list(string)
    })), [])
  }))

  validation {
    condition     = alltrue([for each in values(var.statements) : alltrue([for action in each.actions : !strcontains(action, "*")])])
    error_message = "An action holds a wildcard: name the actions that are called."
  }

  validation {
    condition     = alltrue([for each in values(var.statements) : !contains(each.resources, "*")])
    error_message = "A statement is for all resources: name those that are used."
  }
}

variable "region" {
  description = "What {region} stands for; null: the provider's."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "The role's permissions boundary, where the account demands one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
