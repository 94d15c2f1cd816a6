variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where it runs."
  type        = string
}

variable "name" {
  description = "The worker pool's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,47}[a-z0-9]$", var.name))
    error_message = "A worker pool's name is 2 to 49 small letters, digits and hyphens, and begins with a letter."
  }
}

variable "service_account_id" {
  description = "The service account that is made for it: 6 to 30 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.service_account_id))
    error_message = "A service account's id is 6 to 30 small letters, digits and hyphens."
  }
}

variable "image" {
  description = "The container image: the application, with taskq-cloud[gcp] installed."
  type        = string
}

variable "command" {
  description = "What a container runs: taskq worker -A shop.tasks:app -Q orders."
  type        = list(string)
}

variable "environment" {
  description = "The containers' variables: TASKQ_BROKER, TASKQ_RESULTS."
  type        = map(string)

  validation {
    condition     = contains(keys(var.environment), "TASKQ_BROKER")
    error_message = "The environment lacks TASKQ_BROKER: without it a worker serves an SQLite file of its own."
  }
}

variable "secrets" {
  description = "Variables whose values are in Secret Manager: name to secret."
  type        = map(string)
  default     = {}
}

variable "instances" {
  description = "How many containers run. A worker pool does not follow a queue's backlog by itself."
  type        = number
  default     = 1

  validation {
    condition     = var.instances >= 0
    error_message = "instances is 0 or more."
  }
}

variable "cpu" {
  description = "Of each, in virtual CPUs."
  type        = string
  default     = "1"
}

variable "memory_mb" {
  description = "Of each, in MiB."
  type        = number
  default     = 1024

  validation {
    condition     = var.memory_mb >= 512
    error_message = "A container has at least 512 MiB."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the pool."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels."
  type        = map(string)
  default     = {}
}
