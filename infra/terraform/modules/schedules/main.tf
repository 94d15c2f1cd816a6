# A group of EventBridge schedules that send the messages of periodic tasks to their queues.

locals {
  schedules_key = var.schedules_kms_key_arn == null ? var.kms_key_arn : var.schedules_kms_key_arn
  fifo_targets  = [for schedule in values(var.schedules) : schedule.queue if endswith(var.queues[schedule.queue].name, ".fifo") && schedule.message_group_id == null]
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.group_name
  tags = var.tags
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297:EventBridge Scheduler encrypts with its own key; kms_key_arn takes a key of the user
  for_each = var.schedules

  name                         = each.key
  description                  = each.value.description
  group_name                   = aws_scheduler_schedule_group.this.name
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = each.value.enabled ? "ENABLED" : "DISABLED"
  end_date                     = each.value.end_date
  kms_key_arn                  = local.schedules_key

  flexible_time_window {
    mode                      = each.value.flexible_window_minutes == null ? "OFF" : "FLEXIBLE"
    maximum_window_in_minutes = each.value.flexible_window_minutes
  }

  target {
    arn      = var.queues[each.value.queue].arn
    role_arn = aws_iam_role.this.arn
    # The input is passed on unchanged: jsonencode would write the angle brackets of <aws.scheduler.scheduled-time> as
    # \u003c and \u003e, and the scheduler would no longer replace it.
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
      error_message = "Schedules that send to a FIFO queue need a message_group_id. Give one to the schedules of: ${join(", ", local.fifo_targets)}."
    }
  }
}
