# The table of results: a string as its key, expiry by TTL, paid by request.

data "aws_region" "current" {}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "DenyWithoutTLS"
    effect    = "Deny"
    actions   = ["dynamodb:*"] # a Deny: the wider, the safer
    resources = [aws_dynamodb_table.this.arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_dynamodb_table" "this" {
  # checkov:skip=CKV_AWS_119:DynamoDB encrypts with its own key; kms_key_arn takes one of the user's
  # checkov:skip=CKV_AWS_28:results expire within days and can be made again: point_in_time_recovery turns it on
  # checkov:skip=CKV2_AWS_16:the table is paid by request, which scales by itself
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
      error_message = "The application looks for the table ${var.name} in ${coalesce(var.region, "?")}, and this provider is in ${data.aws_region.current.id}: make it by this module with a provider of that region, and take it out of the variables here."
    }
  }
}

resource "aws_dynamodb_resource_policy" "tls_only" {
  count = var.tls_only ? 1 : 0

  resource_arn = aws_dynamodb_table.this.arn
  policy       = data.aws_iam_policy_document.tls_only.json
}
