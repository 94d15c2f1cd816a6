# Pub/Sub, containers on Cloud Run that serve it, Cloud Tasks for what is due later, periodic tasks in Cloud Scheduler, and
# the bucket of the results.
#
#     taskq topology -A shop:app > taskq.tfvars.json
#     terraform init && terraform apply -var region=europe-west1 -var image=...

provider "google" {
  project = local.declared.project
  region  = var.region
}

locals {
  declared = jsondecode(file("${path.module}/taskq.tfvars.json"))
  buckets  = { for name, bucket in local.declared.buckets : name => bucket if bucket.provider == "google" }
}

module "worker" {
  source   = "../../modules/gcp_run_worker"
  for_each = local.declared.services

  project            = local.declared.project
  region             = var.region
  name               = each.value.name
  service_account_id = each.value.name
  image              = var.image
  command            = each.value.command
  environment        = merge(each.value.environment, module.queues.environment)
  instances          = max(1, each.value.minimum_tasks)
  memory_mb          = each.value.memory_mb

  deletion_protection = var.deletion_protection
}

module "queues" {
  source = "../../modules/gcp_pubsub"

  project       = local.declared.project
  subscriptions = local.declared.subscriptions
  producers     = var.producers
  delays        = { queue = "${local.declared.name}-later", location = var.region, service_account_id = "${local.declared.name}-later" }
  workers       = { for name, worker in module.worker : name => worker.member }
}

module "schedules" {
  source = "../../modules/gcp_schedules"

  project = local.declared.project
  topics  = module.queues.topics
  jobs    = local.declared.scheduler_jobs
}

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_62:access logs take a bucket of the user's, and audit logs can tell
  # checkov:skip=CKV_GCP_78:objects are written once or by condition; old versions would outlive their expiry
  for_each = local.buckets

  name                        = each.key
  location                    = coalesce(each.value.region, var.region)
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  dynamic "lifecycle_rule" {
    for_each = each.value.lifecycle_rules

    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value.expire_days
        matches_prefix = [lifecycle_rule.value.prefix]
      }
    }
  }
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = {
    for pair in setproduct(keys(local.buckets), concat(keys(local.declared.services), keys(var.producers))) : "${pair[0]} ${pair[1]}" => {
      bucket = pair[0]
      member = contains(keys(var.producers), pair[1]) ? var.producers[pair[1]] : module.worker[pair[1]].member
    }
  }

  bucket = google_storage_bucket.this[each.value.bucket].name
  role   = "roles/storage.objectUser"
  member = each.value.member
}
