variable "endpoint_url" {
  description = "Where the stack answers its functions."
  type        = string
  default     = "http://127.0.0.1:4566"
}

variable "package_filename" {
  description = "The archive that `taskq package` has made, for the Python that the stack runs functions with."
  type        = string
  default     = "dist/lambda/function.zip"
}

variable "runtime" {
  description = "The functions' runtime."
  type        = string
  default     = "python3.13"
}
