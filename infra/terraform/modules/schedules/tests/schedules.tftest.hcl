mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-scheduler" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:shop-schedules-dead" }
  }
}

variables {
  group_name             = "shop"
  role_name              = "shop-scheduler"
  dead_letter_queue_name = "shop-schedules-dead"
  queues = {
    orders = { name = "shop-orders", arn = "arn:aws:sqs:eu-west-1:123456789012:shop-orders" }
    mail   = { name = "shop-mail.fifo", arn = "arn:aws:sqs:eu-west-1:123456789012:shop-mail.fifo" }
  }
  schedules = {
    nightly = {
      expression = "cron(0 3 * * ? *)"
      timezone   = "Europe/Paris"
      queue      = "orders"
      input      = "{\"task\": \"shop.nightly\", \"scheduled\": \"<aws.scheduler.scheduled-time>\"}"
    }
    digest = {
      expression              = "rate(1 hour)"
      queue                   = "mail"
      input                   = "{}"
      message_group_id        = "digest"
      flexible_window_minutes = 5
      enabled                 = false
    }
  }
}

run "schedules_with_a_dead_letter_queue_are_made_as_given" {
  command = apply

  assert {
    condition     = strcontains(aws_scheduler_schedule.this["nightly"].target[0].input, "<aws.scheduler.scheduled-time>")
    error_message = "a context attribute is escaped"
  }
  assert {
    condition     = aws_scheduler_schedule.this["nightly"].schedule_expression_timezone == "Europe/Paris"
    error_message = "the time zone is not the schedule's"
  }
  assert {
    condition     = aws_scheduler_schedule.this["nightly"].target[0].dead_letter_config[0].arn == output.dead_letter_queue_arn
    error_message = "messages that could not be delivered are lost"
  }
  assert {
    condition     = [for each in data.aws_iam_policy_document.dead_letter[0].statement : "${each.sid} ${one(each.resources)}"] == [for sid in ["DenyWithoutTLS", "DenyDeletion"] : "${sid} arn:aws:sqs:eu-west-1:123456789012:shop-schedules-dead"] && aws_sqs_queue.dead_letter[0].policy == "{}"
    error_message = "the dead-letter queue is open to calls without TLS"
  }
  assert {
    condition     = { for each in data.aws_iam_policy_document.trust.statement[0].condition : each.variable => each.values }["aws:SourceArn"] == tolist([aws_scheduler_schedule_group.this.arn])
    error_message = "schedules of another group can use the role"
  }
  assert {
    condition     = aws_scheduler_schedule.this["digest"].target[0].sqs_parameters[0].message_group_id == "digest"
    error_message = "a message to a FIFO queue has no message group"
  }
  assert {
    condition     = aws_scheduler_schedule.this["digest"].flexible_time_window[0].maximum_window_in_minutes == 5 && aws_scheduler_schedule.this["digest"].state == "DISABLED"
    error_message = "the flexible window or the disabled state is lost"
  }
}

run "schedules_without_a_dead_letter_queue_name_make_none" {
  command = apply

  variables {
    dead_letter_queue_name        = null
    dead_letter_retention_seconds = null
    role_path                     = "/shop/"
  }

  assert {
    condition     = length(aws_sqs_queue.dead_letter) == 0 && length(aws_scheduler_schedule.this["nightly"].target[0].dead_letter_config) == 0
    error_message = "there is a dead-letter queue that nobody named"
  }
  assert {
    condition     = output.dead_letter_queue_name == null && length(data.aws_iam_policy_document.send.statement[0].resources) == 2
    error_message = "the output or the role names a dead-letter queue"
  }
  assert {
    condition     = aws_iam_role.this.path == "/shop/"
    error_message = "the role's path is not the given one"
  }
}

run "escaped_context_attribute_is_refused" {
  command = plan

  variables {
    schedules = {
      nightly = { expression = "rate(1 hour)", queue = "orders", input = "{\"scheduled\": \"\\u003caws.scheduler.scheduled-time\\u003e\"}" }
    }
  }

  expect_failures = [var.schedules]
}

run "fifo_schedule_without_a_message_group_is_refused" {
  command = plan

  variables {
    schedules = { digest = { expression = "rate(1 hour)", queue = "mail", input = "{}" } }
  }

  expect_failures = [aws_scheduler_schedule.this]
}

run "unknown_queue_and_default_group_are_refused" {
  command = plan

  variables {
    group_name = "default"
    schedules  = { nightly = { expression = "rate(1 hour)", queue = "order", input = "{}" } }
  }

  expect_failures = [var.group_name, var.schedules]
}

run "unix_cron_expression_is_refused" {
  command = plan

  variables {
    schedules = { nightly = { expression = "0 3 * * *", queue = "orders", input = "{}" } }
  }

  expect_failures = [var.schedules]
}

run "schedules_with_a_key_of_their_own_can_be_read_by_the_role" {
  command = plan

  variables {
    kms_key_arn           = "arn:aws:kms:eu-west-1:123456789012:key/queues"
    schedules_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/schedules"
  }

  assert {
    condition     = aws_scheduler_schedule.this["nightly"].kms_key_arn == var.schedules_kms_key_arn && aws_sqs_queue.dead_letter[0].kms_master_key_id == var.kms_key_arn
    error_message = "the schedules, or their dead-letter queue, are under another key"
  }
  assert {
    condition     = { for each in data.aws_iam_policy_document.send.statement : each.sid => one(each.resources) if each.sid != "SendTasks" } == { ReadSchedules = var.schedules_kms_key_arn, UseKey = var.kms_key_arn }
    error_message = "the role may not use one of the keys, or may use more"
  }
}
