# A DynamoDB table for results: a string as the key, expiry by TTL, and payment by request.

data "aws_region" "current" {}

resource "aws_dynamodb_table" "this" {
  # checkov:skip=CKV_AWS_119:DynamoDB encrypts with its own key; kms_key_arn takes a key of the user
  # checkov:skip=CKV_AWS_28:results expire within days, and a task can make them again; the variable point_in_time_recovery turns recovery on
  # checkov:skip=CKV2_AWS_16:a table that is paid by request scales by itself
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = var.hash_key
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = var.hash_key
    type = "S"
  }

  ttl {
    enabled        = true
    attribute_name = var.ttl_attribute
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }

  lifecycle {
    precondition {
      condition     = var.region == null || var.region == data.aws_region.current.id
      error_message = "The application looks for the table ${var.name} in ${coalesce(var.region, "?")}, and this provider would make it in ${data.aws_region.current.id}: call this module with a provider of that region, and remove the table from this declaration."
    }
  }
}
