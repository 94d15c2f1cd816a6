output "group_name" {
  description = "Name of the schedule group."
  value       = aws_scheduler_schedule_group.this.name
}

output "role_arn" {
  description = "ARN of the role with which EventBridge Scheduler sends messages."
  value       = aws_iam_role.this.arn
}

output "dead_letter_queue_arn" {
  description = "ARN of the queue for messages that could not be delivered. Null if there is none."
  value       = one(aws_sqs_queue.dead_letter[*].arn)
}

output "dead_letter_queue_name" {
  description = "Name of that queue. Null if there is none."
  value       = one(aws_sqs_queue.dead_letter[*].name)
}
