# The policies of the two queues, in which senders are allowed, and deletion and calls without TLS are denied. The
# dead-letter queue takes messages from its own queue only.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # The policies are attributes of the queues, so that a queue exists only with its policy: S3 refuses a notification to
  # a queue that it may not send to. A queue's policy can't take the ARN from the queue itself.
  arn_prefix = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:"
  queues = {
    main        = { name = var.name, senders = var.senders }
    dead_letter = { name = var.dead_letter_queue_name, senders = {} }
  }
  # A null leaves the present policy of a queue unchanged, which only a local stack has to accept.
  policies = {
    for key, queue in local.queues : key => var.tls_only || length(queue.senders) > 0 ? data.aws_iam_policy_document.queue[key].json : null
  }
}

data "aws_iam_policy_document" "queue" {
  for_each = local.queues

  dynamic "statement" {
    for_each = var.tls_only ? [1] : []

    content {
      sid       = "DenyWithoutTLS"
      effect    = "Deny"
      actions   = ["sqs:*"] # In a Deny statement, the widest action is the safest.
      resources = ["${local.arn_prefix}${each.value.name}"]

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

  # SQS has no deletion protection of its own. Whoever wants to delete the queue has to change its policy first.
  dynamic "statement" {
    for_each = var.deletion_protection && var.tls_only ? [1] : []

    content {
      sid       = "DenyDeletion"
      effect    = "Deny"
      actions   = ["sqs:DeleteQueue"]
      resources = ["${local.arn_prefix}${each.value.name}"]

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }
    }
  }

  # A service sends on behalf of one bucket, topic or rule. Without the condition it would send for every customer of AWS.
  dynamic "statement" {
    for_each = { for name, sender in each.value.senders : name => sender if sender.service != null }

    content {
      sid       = "Sender-${statement.key}"
      actions   = ["sqs:SendMessage"]
      resources = ["${local.arn_prefix}${each.value.name}"]

      principals {
        type        = "Service"
        identifiers = [statement.value.service]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [statement.value.source_arn]
      }

      # The ARN of a bucket names no account, and another account may get the bucket's name once it is deleted.
      dynamic "condition" {
        for_each = statement.value.service == "s3.amazonaws.com" ? [coalesce(statement.value.source_account, data.aws_caller_identity.current.account_id)] : []

        content {
          test     = "StringEquals"
          variable = "aws:SourceAccount"
          values   = [condition.value]
        }
      }
    }
  }

  dynamic "statement" {
    for_each = { for name, sender in each.value.senders : name => sender if sender.service == null }

    content {
      sid       = "Sender-${statement.key}"
      actions   = ["sqs:SendMessage"]
      resources = ["${local.arn_prefix}${each.value.name}"]

      principals {
        type        = "AWS"
        identifiers = statement.value.principal_arns
      }
    }
  }
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  count = var.redrive_allow_policy ? 1 : 0

  queue_url = aws_sqs_queue.dead_letter.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

# Up to version 0.1.0, the policy was a resource of its own. It is forgotten, and the queue's attribute takes its place.
removed {
  from = aws_sqs_queue_policy.tls_only

  lifecycle {
    destroy = false
  }
}
