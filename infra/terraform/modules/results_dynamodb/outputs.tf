output "arn" {
  description = "The table's ARN."
  value       = aws_dynamodb_table.this.arn
}

output "name" {
  description = "The table's name."
  value       = aws_dynamodb_table.this.name
}

output "environment" {
  description = "The application's setting that names the table."
  value       = { TASKQ_RESULTS = "dynamodb://${aws_dynamodb_table.this.name}" }
}
