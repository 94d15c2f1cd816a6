# Pub/Sub, workers on Cloud Run, Cloud Tasks for long delays, Cloud Scheduler for periodic tasks, and a bucket for results.
#
#     taskq topology -A shop:app > taskq.tfvars.json
#     terraform init && terraform apply -var region=europe-west1 -var image=...

provider "google" {
  project = local.declared.project
  region  = var.region
}

locals {
  declared = jsondecode(file("${path.module}/taskq.tfvars.json"))
}

module "taskq" {
  source = "../../modules/gcp_taskq"
  # Outside of this repository, pin the module to a version:
  # source = "git::https://example.com/taskq-cloud.git//infra/terraform/modules/gcp_taskq?ref=v0.1.0"

  declared            = local.declared
  region              = var.region
  image               = var.image
  producers           = var.producers
  scaling             = var.scaling
  deletion_protection = var.deletion_protection
}
