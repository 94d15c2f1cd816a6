# Functions and containers, a FIFO queue, a bucket for large arguments, schedules, and alarms.
#
#     taskq topology -A shop:app > taskq.tfvars.json
#     taskq package -A shop:app --layer --python 3.13
#     terraform init && terraform apply # with values for image, network and alarm_email

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

  declared            = local.declared
  package             = { filename = var.package_filename }
  layer_filename      = var.layer_filename
  image               = var.image
  ecr_repository_arn  = var.ecr_repository_arn
  network             = var.network
  deletion_protection = var.deletion_protection
  observability = {
    emails                 = [var.alarm_email]
    oldest_message_seconds = { reports = 7200 }
  }
  point_in_time_recovery = true
  tags                   = { environment = "production" }
}
