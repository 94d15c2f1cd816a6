output "service_name" {
  description = "The service's name."
  value       = aws_ecs_service.this.name
}

output "task_definition_arn" {
  description = "The task definition's ARN."
  value       = aws_ecs_task_definition.this.arn
}

output "log_group_name" {
  description = "Where its logs are."
  value       = aws_cloudwatch_log_group.this.name
}
