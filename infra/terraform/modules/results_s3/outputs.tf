output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "environment" {
  description = "Settings of an application that keeps results in the bucket. Add a prefix to the URL if the application uses one."
  value       = { TASKQ_RESULTS = "s3://${aws_s3_bucket.this.id}" }
}
