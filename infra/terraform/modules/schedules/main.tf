# Periodic tasks: a group of EventBridge schedules that put messages on queues, the role they do it with, and the queue
# of those that could not be delivered.

locals {
  fifo_targets = [for schedule in values(var.schedules) : schedule.queue if endswith(var.queues[schedule.queue].name, ".fifo") && schedule.message_group_id == null]
}

data "aws_caller_identity" "current" {}

resource "aws_scheduler_schedule_group" "this" {
  name = var.group_name
  tags = var.tags
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    # Against the confused deputy: schedules of this account and group alone.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [aws_scheduler_schedule_group.this.arn]
    }
  }
}

data "aws_iam_policy_document" "send" {
  statement {
    sid       = "SendTasks"
    actions   = ["sqs:SendMessage"]
    resources = concat(sort([for queue in values(var.queues) : queue.arn]), aws_sqs_queue.dead_letter[*].arn)
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = var.role_name
  path                 = var.role_path
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  name   = var.role_name
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.send.json
}

resource "aws_sqs_queue" "dead_letter" {
  count = var.dead_letter_queue_name == null ? 0 : 1

  name                              = var.dead_letter_queue_name
  message_retention_seconds         = var.dead_letter_retention_seconds
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 300
  tags                              = var.tags
}

data "aws_iam_policy_document" "tls_only" {
  count = length(aws_sqs_queue.dead_letter)

  statement {
    sid       = "DenyWithoutTLS"
    effect    = "Deny"
    actions   = ["sqs:*"] # a Deny: the wider, the safer
    resources = [aws_sqs_queue.dead_letter[0].arn]

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
  count = var.tls_only ? length(aws_sqs_queue.dead_letter) : 0

  queue_url = aws_sqs_queue.dead_letter[0].id
  policy    = data.aws_iam_policy_document.tls_only[0].json
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297:a schedule's data is encrypted with the scheduler's key; kms_key_arn takes one of the user's
  for_each = var.schedules

  name                         = each.key
  description                  = each.value.description
  group_name                   = aws_scheduler_schedule_group.this.name
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = each.value.enabled ? "ENABLED" : "DISABLED"
  end_date                     = each.value.end_date
  kms_key_arn                  = var.kms_key_arn

  flexible_time_window {
    mode                      = each.value.flexible_window_minutes == null ? "OFF" : "FLEXIBLE"
    maximum_window_in_minutes = each.value.flexible_window_minutes
  }

  target {
    arn      = var.queues[each.value.queue].arn
    role_arn = aws_iam_role.this.arn
    # As it is: jsonencode would write the angle brackets of <aws.scheduler.scheduled-time> as \u003c and \u003e, which
    # the scheduler doesn't know.
    input = each.value.input

    dynamic "dead_letter_config" {
      for_each = aws_sqs_queue.dead_letter

      content {
        arn = dead_letter_config.value.arn
      }
    }

    retry_policy {
      maximum_event_age_in_seconds = var.maximum_event_age_seconds
      maximum_retry_attempts       = 185
    }

    dynamic "sqs_parameters" {
      for_each = each.value.message_group_id == null ? [] : [each.value.message_group_id]

      content {
        message_group_id = sqs_parameters.value
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.fifo_targets) == 0
      error_message = "Schedules that send to a FIFO queue need a message_group_id; these queues lack one: ${join(", ", local.fifo_targets)}."
    }
  }
}
