mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
}

variables {
  name                             = "shop-orders"
  role_arn                         = "arn:aws:iam::123456789012:role/shop-orders-function"
  role_name                        = "shop-orders-function"
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
  assert {
    condition     = length(aws_iam_role_policy.platform) == 0
    error_message = "nothing is added to a role that needs nothing"
  }
}

run "in_a_vpc_with_a_topic_of_failures" {
  command = apply

  variables {
    vpc            = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
    on_failure_arn = "arn:aws:sns:eu-west-1:123456789012:shop-failures"
  }

  assert {
    condition     = aws_iam_role_policy.platform[0].role == "shop-orders-function"
    error_message = "the role may have network interfaces made"
  }
  assert {
    condition = [for each in data.aws_iam_policy_document.platform[0].statement : contains(each.actions, "ec2:CreateNetworkInterface") && each.effect != "Deny"] == [true, false, false, false] && (
      one(data.aws_iam_policy_document.platform[0].statement[2].condition).values == tolist(["arn:aws:lambda:eu-west-1:123456789012:function:shop-orders"])
    )
    error_message = "by Lambda, not by the code"
  }
  assert {
    condition     = data.aws_iam_policy_document.platform[0].statement[3].actions == toset(["sns:Publish"])
    error_message = "a topic is published to"
  }
}

run "traced_with_a_queue_of_failures_and_a_large_batch" {
  command = apply

  variables {
    tracing    = true
    batch_size = 100

    batching_window_seconds = 5
    on_failure_arn          = "arn:aws:sqs:eu-west-1:123456789012:shop-failures"
  }

  assert {
    condition     = { for each in data.aws_iam_policy_document.platform[0].statement : each.sid => sort(each.actions) } == { SendTraces = tolist(["xray:PutTelemetryRecords", "xray:PutTraceSegments"]), KeepFailures = tolist(["sqs:SendMessage"]) }
    error_message = "traces and failures can be sent"
  }
}

run "what_lambda_does_not_have" {
  command = plan

  variables {
    timeout_seconds                  = 901
    queue_visibility_timeout_seconds = 43200
    batch_size                       = 11 # without a window
    maximum_concurrency              = 1
    environment                      = { TASKQ_BROKER = "sqs:///" } # and no application
    package                          = {}
  }

  expect_failures = [var.timeout_seconds, var.batch_size, var.maximum_concurrency, var.environment, var.package]
}

run "what_does_not_fit_together" {
  command = plan

  variables {
    timeout_seconds         = 31 # over a sixth of the visibility timeout
    reserved_concurrency    = 5  # less than the queue may use
    queue_arn               = "arn:aws:sqs:eu-west-1:123456789012:shop-orders.fifo"
    batching_window_seconds = 5 # which a FIFO queue doesn't have
  }

  expect_failures = [var.timeout_seconds, var.reserved_concurrency, var.batching_window_seconds]
}
