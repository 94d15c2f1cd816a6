# A queue of SQS and its dead-letter queue, both encrypted and closed to what comes without TLS.

locals {
  fifo   = endswith(var.name, ".fifo")
  queues = { main = aws_sqs_queue.this, dead_letter = aws_sqs_queue.dead_letter }
}

resource "aws_sqs_queue" "dead_letter" {
  name                              = var.dead_letter_queue_name
  fifo_queue                        = local.fifo
  message_retention_seconds         = var.dead_letter_retention_seconds
  receive_wait_time_seconds         = 20
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 300
  tags                              = var.tags

  lifecycle {
    precondition {
      condition     = endswith(var.dead_letter_queue_name, ".fifo") == local.fifo
      error_message = "The dead-letter queue ${var.dead_letter_queue_name} is not of the type of its queue ${var.name}: SQS takes a FIFO queue for a FIFO queue only."
    }
    precondition {
      # A dead letter keeps the age it had: it has to outlive its queue's own retention.
      condition     = var.dead_letter_retention_seconds > var.message_retention_seconds
      error_message = "Dead letters of ${var.name} must be kept for longer than its messages: their age counts from when they were first sent."
    }
  }
}

resource "aws_sqs_queue" "this" {
  name                              = var.name
  fifo_queue                        = local.fifo
  content_based_deduplication       = local.fifo ? true : null
  deduplication_scope               = local.fifo ? "messageGroup" : null
  fifo_throughput_limit             = local.fifo ? "perMessageGroupId" : null
  visibility_timeout_seconds        = var.visibility_timeout_seconds
  message_retention_seconds         = var.message_retention_seconds
  receive_wait_time_seconds         = var.receive_wait_time_seconds
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 300
  tags                              = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.max_receive_count
  })
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
    actions   = ["sqs:*"] # a Deny: the wider, the safer
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
