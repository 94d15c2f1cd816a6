# Cloud Storage buckets for results and payloads, and the access of producers and workers to them.

locals {
  # Buckets of other clouds have modules of their own: results_s3 and azure_results.
  buckets = { for name, bucket in var.declared.buckets : name => bucket if bucket.provider == "google" }
}

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_62:access logs need a bucket of the user, and audit logs can record the calls
  # checkov:skip=CKV_GCP_78:objects are written once or with a condition; old versions would outlive their expiry
  for_each = local.buckets

  project                     = var.declared.project
  name                        = each.key
  location                    = coalesce(each.value.region, var.region)
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection
  labels                      = var.labels

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
    for pair in setproduct(keys(local.buckets), concat(keys(var.declared.services), keys(var.producers))) : "${pair[0]} ${pair[1]}" => {
      bucket = pair[0]
      member = contains(keys(var.producers), pair[1]) ? var.producers[pair[1]] : module.worker[pair[1]].member
    }
  }

  bucket = google_storage_bucket.this[each.value.bucket].name
  role   = "roles/storage.objectUser"
  member = each.value.member
}
