# One task in a Lambda function, with its queue and the table for results.
#
#     taskq topology -A shop:app > taskq.tfvars.json
#     taskq package -A shop:app --python 3.13
#     terraform init && terraform apply

provider "aws" {
  region = local.declared.region
}

locals {
  declared = jsondecode(file("${path.module}/taskq.tfvars.json"))
}

module "taskq" {
  source = "../../modules/taskq"
  # Outside of this repository, pin the module to a version:
  # source = "git::https://example.com/taskq-cloud.git//infra/terraform/modules/taskq?ref=v0.1.0"

  declared = local.declared
  package  = { filename = var.package_filename }
}
