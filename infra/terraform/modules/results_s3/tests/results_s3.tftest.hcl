mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
}

variables {
  name            = "shop-payloads"
  lifecycle_rules = { taskq-payloads = { prefix = "payloads/", expire_days = 30 } }
}

run "bucket_by_default_is_private_encrypted_and_tls_only" {
  command = apply

  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "the bucket can be public"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "the bucket is not encrypted by default"
  }
  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this.rule) == 2 && aws_s3_bucket_lifecycle_configuration.this.rule[0].expiration[0].days == 30
    error_message = "the rules are not the given one and the one for unfinished uploads"
  }
  assert {
    condition     = length(aws_s3_bucket_policy.tls_only) == 1
    error_message = "the bucket is open to calls without TLS"
  }
}

run "rule_of_zero_days_is_refused" {
  command = plan

  variables {
    lifecycle_rules = { taskq-payloads = { prefix = "payloads/", expire_days = 0 } }
  }

  expect_failures = [var.lifecycle_rules]
}

run "provider_in_another_region_is_refused" {
  command = plan

  variables {
    region = "us-east-1"
  }

  expect_failures = [aws_s3_bucket.this]
}
