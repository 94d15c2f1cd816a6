output "function_arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "event_source_mapping_id" {
  description = "UUID of the event source mapping."
  value       = aws_lambda_event_source_mapping.this.uuid
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "function_version" {
  description = "Version that was published last, or `$LATEST` without an alias."
  value       = aws_lambda_function.this.version
}

output "alias_name" {
  description = "Name of the alias. Null if there is none."
  value       = local.alias_name
}

output "alias_arn" {
  description = "ARN of the alias. Null if there is none."
  value       = local.alias_arn
}
