variable "project" {
  description = "The Google Cloud project, of the topics as well."
  type        = string
}

variable "topics" {
  description = "The topics' ids (projects/.../topics/...), by the application's names of the queues: the output of gcp_pubsub."
  type        = map(string)

  validation {
    condition     = alltrue([for topic in values(var.topics) : can(regex("^projects/[^/]+/topics/[^/]+$", topic))])
    error_message = "A topic's id is projects/.../topics/..., and not its short name."
  }
}

variable "jobs" {
  description = "By name, as `taskq topology` writes them (scheduler_jobs)."
  type = map(object({
    location    = string
    schedule    = string
    timezone    = optional(string, "UTC")
    queue       = string
    message     = string
    attributes  = optional(map(string), {})
    retries     = optional(number, 3)
    enabled     = optional(bool, true)
    description = optional(string, "")
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.jobs) : can(regex("^[a-zA-Z0-9_-]{1,500}$", name))])
    error_message = "A job's name is 1 to 500 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for job in values(var.jobs) : can(regex("^(\\S+ ){4}\\S+$", job.schedule))])
    error_message = "A job's schedule has the five fields of unix-cron."
  }

  validation {
    condition     = alltrue([for job in values(var.jobs) : job.retries >= 0 && job.retries <= 5])
    error_message = "Cloud Scheduler tries again 0 to 5 times."
  }

  validation {
    condition     = alltrue([for job in values(var.jobs) : contains(keys(var.topics), job.queue)])
    error_message = "A job names a queue that is not among the topics."
  }
}
