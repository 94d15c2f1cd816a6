variable "region" {
  description = "Where workers run, and the bucket is."
  type        = string
}

variable "image" {
  description = "The workers' image: the application, with taskq-cloud[gcp] installed."
  type        = string
}

variable "producers" {
  description = "Who calls tasks, by names of your own: { web = \"serviceAccount:web@project.iam.gserviceaccount.com\" }."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether workers and a bucket that holds anything refuse to be deleted."
  type        = bool
  default     = true
}
