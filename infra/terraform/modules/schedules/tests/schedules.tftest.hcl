mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
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

run "schedules" {
  command = apply

  assert {
    condition     = strcontains(aws_scheduler_schedule.this["nightly"].target[0].input, "<aws.scheduler.scheduled-time>")
    error_message = "context attributes are not escaped"
  }
  assert {
    condition     = aws_scheduler_schedule.this["nightly"].schedule_expression_timezone == "Europe/Paris"
    error_message = "the time zone of the entry"
  }
  assert {
    condition     = aws_scheduler_schedule.this["nightly"].target[0].dead_letter_config[0].arn == output.dead_letter_queue_arn
    error_message = "what can't be delivered is kept"
  }
  assert {
    condition     = length(aws_sqs_queue_policy.tls_only) == 1
    error_message = "the queue of it is closed to calls without TLS"
  }
  assert {
    condition     = { for each in data.aws_iam_policy_document.trust.statement[0].condition : each.variable => each.values }["aws:SourceArn"] == tolist([aws_scheduler_schedule_group.this.arn])
    error_message = "schedules of this group alone use the role"
  }
  assert {
    condition     = aws_scheduler_schedule.this["digest"].target[0].sqs_parameters[0].message_group_id == "digest"
    error_message = "a FIFO queue gets a message group"
  }
  assert {
    condition     = aws_scheduler_schedule.this["digest"].flexible_time_window[0].maximum_window_in_minutes == 5 && aws_scheduler_schedule.this["digest"].state == "DISABLED"
    error_message = "jitter is a flexible window; a paused entry is disabled"
  }
}

run "without_a_dead_letter_queue" {
  command = apply

  variables {
    dead_letter_queue_name        = null
    dead_letter_retention_seconds = null
    role_path                     = "/shop/"
  }

  assert {
    condition     = length(aws_sqs_queue.dead_letter) == 0 && length(aws_scheduler_schedule.this["nightly"].target[0].dead_letter_config) == 0
    error_message = "no queue that nobody has named"
  }
  assert {
    condition     = output.dead_letter_queue_name == null && length(data.aws_iam_policy_document.send.statement[0].resources) == 2
    error_message = "and nothing that speaks of one"
  }
  assert {
    condition     = aws_iam_role.this.path == "/shop/"
    error_message = "the role has the path that its ARN says"
  }
}

run "escaped_context_attribute" {
  command = plan

  variables {
    schedules = {
      nightly = { expression = "rate(1 hour)", queue = "orders", input = "{\"scheduled\": \"\\u003caws.scheduler.scheduled-time\\u003e\"}" }
    }
  }

  expect_failures = [var.schedules]
}

run "fifo_queue_without_a_group" {
  command = plan

  variables {
    schedules = { digest = { expression = "rate(1 hour)", queue = "mail", input = "{}" } }
  }

  expect_failures = [aws_scheduler_schedule.this]
}

run "unknown_queue_in_everyone_s_group" {
  command = plan

  variables {
    group_name = "default"
    schedules  = { nightly = { expression = "rate(1 hour)", queue = "order", input = "{}" } }
  }

  expect_failures = [var.group_name, var.schedules]
}

run "expression_of_another_kind" {
  command = plan

  variables {
    schedules = { nightly = { expression = "0 3 * * *", queue = "orders", input = "{}" } }
  }

  expect_failures = [var.schedules]
}
