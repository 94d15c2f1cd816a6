# An SQS queue and its dead-letter queue, both encrypted.

locals {
  fifo = endswith(var.name, ".fifo")
}

resource "aws_sqs_queue" "dead_letter" {
  name                              = var.dead_letter_queue_name
  fifo_queue                        = local.fifo
  message_retention_seconds         = var.dead_letter_retention_seconds
  receive_wait_time_seconds         = 20
  policy                            = local.policies.dead_letter
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 300
  tags                              = var.tags

  lifecycle {
    precondition {
      condition     = endswith(var.dead_letter_queue_name, ".fifo") == local.fifo
      error_message = "The queue ${var.name} and its dead-letter queue ${var.dead_letter_queue_name} have different types. SQS requires a FIFO dead-letter queue for a FIFO queue, and a standard one for a standard queue: change one of the two names."
    }
    precondition {
      # SQS counts a dead letter's age from the first send of its message, so a dead letter needs a longer retention.
      condition     = var.dead_letter_retention_seconds > var.message_retention_seconds
      error_message = "Dead letters of ${var.name} would expire no later than its messages, because their age counts from the first send. Set dead_letter_retention_seconds to more than ${var.message_retention_seconds}."
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
  policy                            = local.policies.main
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 300
  tags                              = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.max_receive_count
  })
}
