# Two runtimes, a FIFO queue, a bucket for large arguments, schedules, and alarms.
#
#     taskq topology -A shop:app > taskq.tfvars.json
#     taskq package -A shop:app --layer --python 3.13
#     terraform init && terraform apply # with image, network and alarm_email

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

  package             = { filename = var.package_filename }
  layer_filename      = var.layer_filename
  image               = var.image
  ecr_repository_arn  = var.ecr_repository_arn
  network             = var.network
  deletion_protection = var.deletion_protection
  observability = {
    alarm_topic_arns       = [aws_sns_topic.alarms.arn]
    oldest_message_seconds = { reports = 7200 }
  }
  point_in_time_recovery = true
  tags                   = { environment = "production" }
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.declared.name}-alarms"
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic_subscription" "email" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}
