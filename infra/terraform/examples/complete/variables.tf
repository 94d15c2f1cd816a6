variable "package_filename" {
  description = "The archive that `taskq package --layer` has made."
  type        = string
  default     = "dist/lambda/function.zip"
}

variable "layer_filename" {
  description = "The layer that it has made."
  type        = string
  default     = "dist/lambda/layer.zip"
}

variable "image" {
  description = "The workers' image: the application, with taskq-cloud[aws] installed."
  type        = string
}

variable "ecr_repository_arn" {
  description = "The ECR repository of the image; null where it is elsewhere and public."
  type        = string
  default     = null
}

variable "alarm_email" {
  description = "Who is told of alarms."
  type        = string
}

variable "network" {
  description = "Where containers run: subnets from which AWS is reached over HTTPS, by NAT, endpoints or public addresses."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })
}

variable "deletion_protection" {
  description = "Whether the table and a bucket that holds anything refuse to be deleted."
  type        = bool
  default     = true
}
