# An S3 bucket for results, or for payloads that are too large for a message.

data "aws_region" "current" {}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_144:objects are short-lived; a copy in another region would outlive their use
  # checkov:skip=CKV_AWS_18:access logs need a bucket of the user, and CloudTrail can record the calls
  # checkov:skip=CKV_AWS_21:objects are written once or with a condition; old versions would outlive their expiry
  # checkov:skip=CKV_AWS_145:S3 encrypts with its own key; kms_key_arn takes a key of the user
  # checkov:skip=CKV2_AWS_62:nothing uses events of this bucket
  bucket        = var.name
  force_destroy = var.force_destroy
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = var.region == null || var.region == data.aws_region.current.id
      error_message = "The application looks for the bucket ${var.name} in ${coalesce(var.region, "?")}, and this provider would make it in ${data.aws_region.current.id}: call this module with a provider of that region, and remove the bucket from this declaration."
    }
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}
