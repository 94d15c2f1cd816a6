variable "package_filename" {
  description = "The archive that `taskq package` has made."
  type        = string
  default     = "dist/lambda/function.zip"
}
