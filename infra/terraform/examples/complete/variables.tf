variable "package_filename" {
  description = "File name of the archive that `taskq package --layer` made."
  type        = string
  default     = "dist/lambda/function.zip"
}

variable "layer_filename" {
  description = "File name of the layer that `taskq package --layer` made."
  type        = string
  default     = "dist/lambda/layer.zip"
}

variable "image" {
  description = "Container image of the workers, with the application and `taskq-cloud[aws]` installed."
  type        = string
}

variable "ecr_repository_arn" {
  description = "ARN of the image's ECR repository. Null for a public image elsewhere."
  type        = string
  default     = null
}

variable "alarm_email" {
  description = "E-mail address that is notified of alarms."
  type        = string
}

variable "network" {
  description = "Subnets and security groups of the containers. AWS has to be reachable over HTTPS: by NAT, by endpoints or with public addresses."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })
}

variable "deletion_protection" {
  description = "Protection of queues, of the table and of a bucket that isn't empty against deletion."
  type        = bool
  default     = true
}
