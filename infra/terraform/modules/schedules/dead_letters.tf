# The queue for messages that EventBridge Scheduler could not deliver.

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  dead_letter_arn = var.dead_letter_queue_name == null ? null : "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:${var.dead_letter_queue_name}"
}

resource "aws_sqs_queue" "dead_letter" {
  count = var.dead_letter_queue_name == null ? 0 : 1

  name                              = var.dead_letter_queue_name
  message_retention_seconds         = var.dead_letter_retention_seconds
  policy                            = var.tls_only ? data.aws_iam_policy_document.dead_letter[0].json : null
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 300
  tags                              = var.tags
}

# As in the module queue, the policy is an attribute of the queue and takes effect until the queue itself is gone.
data "aws_iam_policy_document" "dead_letter" {
  count = var.dead_letter_queue_name == null ? 0 : 1

  statement {
    sid       = "DenyWithoutTLS"
    effect    = "Deny"
    actions   = ["sqs:*"] # In a Deny statement, the widest action is the safest.
    resources = [local.dead_letter_arn]

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

  dynamic "statement" {
    for_each = var.deletion_protection ? [1] : []

    content {
      sid       = "DenyDeletion"
      effect    = "Deny"
      actions   = ["sqs:DeleteQueue"]
      resources = [local.dead_letter_arn]

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }
    }
  }
}

# Up to version 0.1.0, the policy was a resource of its own. It is forgotten, and the queue's attribute takes its place.
removed {
  from = aws_sqs_queue_policy.tls_only

  lifecycle {
    destroy = false
  }
}
