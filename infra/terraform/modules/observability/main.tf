# Alarms that report a problem before users notice it.

resource "aws_cloudwatch_metric_alarm" "oldest_message" {
  for_each = var.queues

  alarm_name          = "${var.name}-${each.key}-age"
  alarm_description   = "The oldest message of ${each.value.name} has waited for more than ${each.value.oldest_message_seconds} s: there are too few workers, they have stopped, or they return the message again and again."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.oldest_message_seconds
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = var.queues

  alarm_name          = "${var.name}-${each.key}-dead-letters"
  alarm_description   = "${each.value.dead_letter_queue_name} holds messages whose tasks could not run; the attribute dead_letter_reason of each message names the reason."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value.dead_letter_queue_name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "schedules" {
  count = var.schedule_dead_letter_queue_name == null ? 0 : 1

  alarm_name          = "${var.name}-schedules-dead-letters"
  alarm_description   = "${var.schedule_dead_letter_queue_name} holds messages that EventBridge Scheduler could not deliver: check the permissions of its role and the policies of the queues."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = var.schedule_dead_letter_queue_name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}

locals {
  # What each metric of a function says about its invocations.
  function_alarms = {
    Errors                      = "ended without an answer: the function timed out, ran out of memory, or could not start. The messages of the batch are delivered again."
    RecursiveInvocationsDropped = "were dropped, because Lambda took a chain of tasks for an endless loop: set the function's recursion configuration to Allow, unless a task calls itself without end."
    Throttles                   = "are throttled, which uses up receives: the concurrency of the account or of the function is too low."
  }
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = {
    for pair in setproduct(var.function_names, keys(local.function_alarms)) : "${pair[0]}-${lower(pair[1])}" => { name = pair[0], metric = pair[1] }
  }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "Invocations of ${each.value.name} ${local.function_alarms[each.value.metric]}"
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = each.value.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "table" {
  for_each = {
    for pair in setproduct(var.table_names, ["ReadThrottleEvents", "WriteThrottleEvents"]) : "${pair[0]}-${lower(pair[1])}" => { name = pair[0], metric = pair[1] }
  }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "DynamoDB throttles calls to ${each.value.name}: workers wait and retry."
  namespace           = "AWS/DynamoDB"
  metric_name         = each.value.metric
  dimensions          = { TableName = each.value.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.throttles_allowed
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}
