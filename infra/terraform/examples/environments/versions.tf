terraform {
  required_version = ">= 1.9"

  # Each environment has a state of its own, whose place its *.backend.hcl gives.
  backend "s3" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}
