variable "package_filename" {
  description = "File name of the archive that `taskq package` made."
  type        = string
  default     = "dist/lambda/function.zip"
}
