output "arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "environment" {
  description = "Settings of the application that name the table."
  value       = { TASKQ_RESULTS = "dynamodb://${aws_dynamodb_table.this.name}" }
}
