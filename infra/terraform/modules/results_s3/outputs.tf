output "arn" {
  description = "The bucket's ARN."
  value       = aws_s3_bucket.this.arn
}

output "name" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.id
}

output "environment" {
  description = "The application's setting, where the bucket is for results: with a prefix, add it."
  value       = { TASKQ_RESULTS = "s3://${aws_s3_bucket.this.id}" }
}
