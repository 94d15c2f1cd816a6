output "alarm_names" {
  description = "Names of all alarms, sorted."
  value = sort(concat(
    values(aws_cloudwatch_metric_alarm.oldest_message)[*].alarm_name,
    values(aws_cloudwatch_metric_alarm.dead_letters)[*].alarm_name,
    values(aws_cloudwatch_metric_alarm.function)[*].alarm_name,
    values(aws_cloudwatch_metric_alarm.table)[*].alarm_name,
    aws_cloudwatch_metric_alarm.schedules[*].alarm_name,
    values(aws_cloudwatch_metric_alarm.failed_tasks)[*].alarm_name,
  ))
}

output "dashboard_name" {
  description = "Name of the dashboard. Null if there is none."
  value       = one(aws_cloudwatch_dashboard.this[*].dashboard_name)
}

output "topic_arn" {
  description = "ARN of the topic that notifies the e-mail addresses. Null if there are none."
  value       = one(aws_sns_topic.alarms[*].arn)
}
