# Access to the two queues: the dead-letter queue takes messages from its own queue only, and calls need TLS.

locals {
  queues = { main = aws_sqs_queue.this, dead_letter = aws_sqs_queue.dead_letter }
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  count = var.redrive_allow_policy ? 1 : 0

  queue_url = aws_sqs_queue.dead_letter.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.queues

  statement {
    sid       = "DenyWithoutTLS"
    effect    = "Deny"
    actions   = ["sqs:*"] # In a Deny statement, the widest action is the safest.
    resources = [each.value.arn]

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

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = var.tls_only ? local.queues : {}

  queue_url = each.value.id
  policy    = data.aws_iam_policy_document.tls_only[each.key].json
}
