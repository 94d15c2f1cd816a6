variable "name" {
  description = "Name of the application, which begins the names of the resources."
  type        = string
}

variable "vpc_id" {
  description = "Id of the VPC that the containers and functions run in."
  type        = string
}

variable "servers" {
  description = "Servers, by names of your choice. `kind` is the system as `taskq topology` writes it, and `ports` are its ports. A server in the VPC has a `security_group_id`, which gets a rule for the clients; any other server has `cidr_ipv4`, its addresses. `connect_arns` are the ARNs that a login by IAM needs: of the user and the cluster on ElastiCache, of the database user on RDS."
  type = map(object({
    kind              = string
    ports             = list(number)
    security_group_id = optional(string)
    cidr_ipv4         = optional(string)
    connect_arns      = optional(list(string), [])
  }))

  validation {
    condition     = alltrue([for server in values(var.servers) : server.cidr_ipv4 == null || server.security_group_id == null])
    error_message = "A server has either a security group or addresses: remove security_group_id or cidr_ipv4."
  }

  validation {
    condition     = alltrue([for server in values(var.servers) : length(server.ports) > 0 && alltrue([for port in server.ports : port >= 1 && port <= 65535])])
    error_message = "A server has at least one port, from 1 to 65535."
  }

  validation {
    condition     = alltrue([for server in values(var.servers) : length(server.connect_arns) == 0 || contains(["mariadb", "postgresql", "redis"], server.kind)])
    error_message = "Logins by IAM exist on ElastiCache (redis) and on RDS (postgresql, mariadb). Remove connect_arns from the other servers."
  }

  validation {
    condition     = alltrue([for arn in flatten(values(var.servers)[*].connect_arns) : !endswith(arn, "*")])
    error_message = "A wildcard at the end of an ARN would allow logins as every user. Name the user."
  }
}

variable "role_names" {
  description = "Names of the roles that may log in by IAM, by names of your choice."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of all resources of this module."
  type        = map(string)
  default     = {}
}
