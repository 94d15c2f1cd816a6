variable "endpoint_url" {
  description = "URL at which functions reach the stack."
  type        = string
  default     = "http://127.0.0.1:4566"
}

variable "package_filename" {
  description = "File name of the archive that `taskq package` made, for the Python version that the stack runs functions with."
  type        = string
  default     = "dist/lambda/function.zip"
}

variable "runtime" {
  description = "Lambda runtime of the functions."
  type        = string
  default     = "python3.13"
}
