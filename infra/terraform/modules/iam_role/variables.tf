variable "name" {
  description = "Name of the role, or of the policy."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.name))
    error_message = "A role's name consists of 1 to 64 letters, digits and the characters + = , . @ _ -."
  }
}

variable "assumed_by" {
  description = "Service that assumes the role, such as `lambda.amazonaws.com`. If null, the module makes a policy to attach instead of a role."
  type        = string
  default     = null
}

variable "statements" {
  description = "Statements of the policy, by sid. ARNs may contain the placeholders `{partition}`, `{region}` and `{account}`."
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
    error_message = "An action contains a wildcard. Name each action that the code calls."
  }

  validation {
    condition     = alltrue([for each in values(var.statements) : !contains(each.resources, "*")])
    error_message = "A statement allows all resources (*). Name the resources that the code uses."
  }
}

variable "region" {
  description = "Region that replaces `{region}`. If null, it is the provider's."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "ARN of the role's permissions boundary, for accounts that require one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of all resources of this module."
  type        = map(string)
  default     = {}
}
