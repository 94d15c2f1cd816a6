variable "project" {
  description = "ID of the Google Cloud project of the jobs and the topics."
  type        = string
}

variable "topics" {
  description = "IDs of the topics (`projects/.../topics/...`), by the application's names for its queues: the output `topics` of `gcp_pubsub`."
  type        = map(string)

  validation {
    condition     = alltrue([for topic in values(var.topics) : can(regex("^projects/[^/]+/topics/[^/]+$", topic))])
    error_message = "A topic's ID has the form projects/.../topics/...: a short name is not enough."
  }
}

variable "jobs" {
  description = "Jobs, by name, in the shape that `taskq topology` writes (`scheduler_jobs`)."
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
    error_message = "A job's name consists of 1 to 500 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for job in values(var.jobs) : can(regex("^(\\S+ ){4}\\S+$", job.schedule))])
    error_message = "A job's schedule has to have the five fields of unix-cron."
  }

  validation {
    condition     = alltrue([for job in values(var.jobs) : job.retries >= 0 && job.retries <= 5])
    error_message = "Cloud Scheduler retries 0 to 5 times: set retries to 5 or less."
  }

  validation {
    condition     = alltrue([for job in values(var.jobs) : contains(keys(var.topics), job.queue)])
    error_message = "A job publishes to a queue that the variable topics doesn't contain. Add the topic, or correct the job."
  }
}
