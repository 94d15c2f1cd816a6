variable "region" {
  description = "Region of the workers and of the bucket."
  type        = string
}

variable "image" {
  description = "Container image of the workers, with the application and `taskq-cloud[gcp]` installed."
  type        = string
}

variable "producers" {
  description = "Accounts that call tasks, by names of your choice, such as `{ web = \"serviceAccount:web@project.iam.gserviceaccount.com\" }`."
  type        = map(string)
  default     = {}
}

variable "scaling" {
  description = "Scaling of the workers by the backlog: `{ parameter_version = \"projects/<project>/locations/global/parameters/shop-scaling/versions/v1\" }`. If null, one worker runs."
  type = object({
    parameter_version = string
  })
  default = null
}

variable "deletion_protection" {
  description = "Protection of queues, of workers and their autoscaler, and of a bucket that isn't empty against deletion."
  type        = bool
  default     = true
}
