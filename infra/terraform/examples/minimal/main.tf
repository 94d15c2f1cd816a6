# One task in a Lambda function, its queue and the table of results.
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

  name           = local.declared.name
  region         = local.declared.region
  kms_key_arn    = local.declared.kms_key_arn
  environment    = local.declared.environment
  queues         = local.declared.queues
  functions      = local.declared.functions
  services       = local.declared.services
  tables         = local.declared.tables
  buckets        = local.declared.buckets
  roles          = local.declared.roles
  schedule_group = local.declared.schedule_group
  schedules      = local.declared.schedules

  package = { filename = var.package_filename }
}
