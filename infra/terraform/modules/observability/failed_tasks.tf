# Alarms on failing tasks. A failed task leaves no trace in the metrics of queues and functions: its message is
# acknowledged, and its invocation succeeds. So the failures are counted in the logs.

resource "aws_cloudwatch_log_metric_filter" "failed_tasks" {
  for_each = var.log_group_names

  name           = "${each.key}-failed-tasks"
  log_group_name = each.value
  # Failures that the task declares as expected (`throws`) are logged at a lower level. Functions write levels in capitals.
  pattern = "{ ($.action = \"task.failed\") && ($.level = \"error\" || $.level = \"ERROR\") }"

  metric_transformation {
    namespace = "taskq"
    name      = "${each.key}-failed-tasks"
    value     = "1"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_metric_alarm" "failed_tasks" {
  for_each = var.log_group_names

  alarm_name          = "${var.name}-${each.key}-failed-tasks"
  alarm_description   = "Tasks of ${each.key} fail. The log group ${each.value} has their tracebacks: look for the action task.failed."
  namespace           = one(aws_cloudwatch_log_metric_filter.failed_tasks[each.key].metric_transformation).namespace
  metric_name         = one(aws_cloudwatch_log_metric_filter.failed_tasks[each.key].metric_transformation).name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.failed_tasks_allowed
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic_arns
  ok_actions          = local.topic_arns
  tags                = var.tags
}
