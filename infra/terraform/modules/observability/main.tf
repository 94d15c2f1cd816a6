# Alarms that say what is wrong before users do, and a dashboard.

data "aws_region" "current" {}

resource "aws_cloudwatch_metric_alarm" "oldest_message" {
  for_each = var.queues

  alarm_name          = "${var.name}-${each.key}-age"
  alarm_description   = "The oldest message of ${each.value.name} waits for more than ${each.value.oldest_message_seconds} s: workers are too few, stopped, or give it back again and again."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.oldest_message_seconds
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = var.queues

  alarm_name          = "${var.name}-${each.key}-dead-letters"
  alarm_description   = "${each.value.dead_letter_queue_name} holds messages that could not be run; each says why in its attribute dead_letter_reason."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value.dead_letter_queue_name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "schedules" {
  count = var.schedule_dead_letter_queue_name == null ? 0 : 1

  alarm_name          = "${var.name}-schedules-dead-letters"
  alarm_description   = "${var.schedule_dead_letter_queue_name} holds messages that the scheduler could not deliver: its role, or a queue, is wrong."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = var.schedule_dead_letter_queue_name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = {
    for pair in setproduct(var.function_names, ["Errors", "Throttles"]) : "${pair[0]}-${lower(pair[1])}" => { name = pair[0], metric = pair[1] }
  }

  alarm_name = "${var.name}-${each.key}"
  alarm_description = each.value.metric == "Errors" ? (
    "${each.value.name} ended without an answer: it timed out, ran out of memory, or does not start. Its batch comes back."
    ) : (
    "Invocations of ${each.value.name} are throttled, which uses receives up: the account's concurrency, or its own, is too low."
  )
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = each.value.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "table" {
  for_each = {
    for pair in setproduct(var.table_names, ["ReadThrottleEvents", "WriteThrottleEvents"]) : "${pair[0]}-${lower(pair[1])}" => { name = pair[0], metric = pair[1] }
  }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "DynamoDB throttles calls to ${each.value.name}: workers wait and repeat them."
  namespace           = "AWS/DynamoDB"
  metric_name         = each.value.metric
  dimensions          = { TableName = each.value.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.throttles_allowed
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.dashboard ? 1 : 0

  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, widget in concat(
        [
          {
            title = "Messages waiting"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name]
            ]
            stat = "Maximum"
          },
          {
            title = "Age of the oldest message, seconds"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name]
            ]
            stat = "Maximum"
          },
          {
            title = "Messages deleted: tasks done"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "NumberOfMessagesDeleted", "QueueName", queue.name]
            ]
            stat = "Sum"
          },
          {
            title = "Dead letters"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.dead_letter_queue_name]
            ]
            stat = "Maximum"
          },
        ],
        length(var.function_names) == 0 ? [] : [
          {
            title   = "Functions: instances"
            metrics = [for name in var.function_names : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", name]]
            stat    = "Maximum" # each invocation reports how many there are
          },
          {
            title = "Functions: errors, throttles"
            metrics = [
              for pair in setproduct(var.function_names, ["Errors", "Throttles"]) :
              ["AWS/Lambda", pair[1], "FunctionName", pair[0]]
            ]
            stat = "Sum"
          },
        ],
        length(var.table_names) == 0 ? [] : [
          {
            title = "Table: capacity used"
            metrics = [
              for pair in setproduct(var.table_names, ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"]) :
              ["AWS/DynamoDB", pair[1], "TableName", pair[0]]
            ]
            stat = "Sum"
          },
        ],
      ) :
      {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = data.aws_region.current.id
          metrics = widget.metrics
          stat    = widget.stat
          period  = 60
          view    = "timeSeries"
        }
      }
    ]
  })
}
