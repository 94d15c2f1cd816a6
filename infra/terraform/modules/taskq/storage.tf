# Tables and buckets for results and payloads.

locals {
  # Buckets of other clouds have modules of their own: gcp_taskq and azure_results.
  buckets = { for name, bucket in var.declared.buckets : name => bucket if bucket.provider == "aws" }
}

module "table" {
  source   = "../results_dynamodb"
  for_each = var.declared.tables

  name                   = each.value.name
  region                 = each.value.region
  hash_key               = each.value.hash_key
  ttl_attribute          = each.value.ttl_attribute
  kms_key_arn            = var.declared.kms_key_arn
  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
  tls_only               = !var.local_stack
  tags                   = local.tags
}

module "bucket" {
  source   = "../results_s3"
  for_each = local.buckets

  name            = each.value.name
  region          = each.value.region
  lifecycle_rules = each.value.lifecycle_rules
  kms_key_arn     = var.declared.kms_key_arn
  force_destroy   = !var.deletion_protection
  tls_only        = !var.local_stack
  tags            = local.tags
}
