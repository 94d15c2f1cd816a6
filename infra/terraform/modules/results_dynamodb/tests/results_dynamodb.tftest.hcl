mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
}

variables {
  name = "shop-results"
}

run "table_by_default_expires_and_is_protected" {
  command = apply

  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "ttl"
    error_message = "results do not expire"
  }
  assert {
    condition     = aws_dynamodb_table.this.hash_key == "id" && one(aws_dynamodb_table.this.attribute).type == "S"
    error_message = "the key is not a string named id"
  }
  assert {
    condition     = aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "the table is not protected against deletion"
  }
  assert {
    condition     = length(aws_dynamodb_resource_policy.tls_only) == 1
    error_message = "the table is open to calls without TLS"
  }
  assert {
    condition     = output.environment.TASKQ_RESULTS == "dynamodb://shop-results"
    error_message = "the output is not the application's setting"
  }
}

run "invalid_name_is_refused" {
  command = plan

  variables {
    name = "a b"
  }

  expect_failures = [var.name]
}

run "provider_in_another_region_is_refused" {
  command = plan

  variables {
    region = "us-east-1"
  }

  expect_failures = [aws_dynamodb_table.this]
}
