mock_provider "aws" {}

variables {
  name                             = "shop-orders"
  role_arn                         = "arn:aws:iam::123456789012:role/shop-orders-function"
  queue_arn                        = "arn:aws:sqs:eu-west-1:123456789012:shop-orders"
  queue_visibility_timeout_seconds = 180
  timeout_seconds                  = 30
  package                          = { filename = "tests/package.txt" }
  environment                      = { TASKQ_APP = "shop:app" }
}

run "function" {
  command = apply

  assert {
    condition     = aws_lambda_event_source_mapping.this.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "without ReportBatchItemFailures Lambda deletes what was given back"
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.scaling_config[0].maximum_concurrency == 20
    error_message = "a deep queue is bounded"
  }
  assert {
    condition     = aws_lambda_function.this.handler == "taskq_cloud.lambda_function.lambda_handler"
    error_message = "the entry point of the package"
  }
  assert {
    condition     = aws_lambda_function.this.source_code_hash == filebase64sha256("tests/package.txt")
    error_message = "a package of unchanged bytes is no change"
  }
  assert {
    condition     = aws_lambda_function.this.logging_config[0].log_format == "JSON"
    error_message = "log records keep their fields"
  }
}

run "timeout_over_a_sixth_of_the_visibility_timeout" {
  command = plan

  variables {
    timeout_seconds = 31
  }

  expect_failures = [var.timeout_seconds]
}

run "timeout_that_lambda_does_not_have" {
  command = plan

  variables {
    timeout_seconds                  = 901
    queue_visibility_timeout_seconds = 43200
  }

  expect_failures = [var.timeout_seconds]
}

run "large_batch_without_a_window" {
  command = plan

  variables {
    batch_size = 11
  }

  expect_failures = [var.batch_size]
}

run "large_batch_with_a_window" {
  command = plan

  variables {
    batch_size              = 100
    batching_window_seconds = 5
  }
}

run "window_on_a_fifo_queue" {
  command = plan

  variables {
    queue_arn               = "arn:aws:sqs:eu-west-1:123456789012:shop-orders.fifo"
    batching_window_seconds = 5
  }

  expect_failures = [var.batching_window_seconds]
}

run "concurrency_of_one" {
  command = plan

  variables {
    maximum_concurrency = 1
  }

  expect_failures = [var.maximum_concurrency]
}

run "less_reserved_than_the_queue_may_use" {
  command = plan

  variables {
    reserved_concurrency = 5
  }

  expect_failures = [var.reserved_concurrency]
}

run "no_application" {
  command = plan

  variables {
    environment = { TASKQ_BROKER = "sqs:///" }
  }

  expect_failures = [var.environment]
}

run "no_package" {
  command = plan

  variables {
    package = {}
  }

  expect_failures = [var.package]
}
