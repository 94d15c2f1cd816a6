# The log group of the containers.

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:the user chooses how long logs are kept (log_retention_days); a year is not a rule for everyone
  # checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key; log_kms_key_arn takes a key of the user
  name              = "/taskq/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}
