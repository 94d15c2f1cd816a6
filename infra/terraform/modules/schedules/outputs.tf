output "group_name" {
  description = "The schedule group."
  value       = aws_scheduler_schedule_group.this.name
}

output "role_arn" {
  description = "The role that the scheduler sends with."
  value       = aws_iam_role.this.arn
}

output "dead_letter_queue_arn" {
  description = "The queue of what could not be delivered; null: there is none."
  value       = one(aws_sqs_queue.dead_letter[*].arn)
}

output "dead_letter_queue_name" {
  description = "Its name."
  value       = one(aws_sqs_queue.dead_letter[*].name)
}
