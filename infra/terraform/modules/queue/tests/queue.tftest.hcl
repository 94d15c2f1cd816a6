mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name                       = "shop-orders"
  dead_letter_queue_name     = "shop-orders-dead"
  visibility_timeout_seconds = 180
}

run "standard_queue" {
  command = apply

  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount == 5
    error_message = "maxReceiveCount is 5 unless told otherwise"
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead_letter.arn
    error_message = "dead letters go to its own dead-letter queue"
  }
  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled && aws_sqs_queue.dead_letter.sqs_managed_sse_enabled
    error_message = "both queues are encrypted without being asked to"
  }
  assert {
    condition     = length(aws_sqs_queue_policy.tls_only) == 2
    error_message = "both queues are closed to calls without TLS"
  }
  assert {
    condition     = !aws_sqs_queue.this.fifo_queue
    error_message = "a name without .fifo is a standard queue"
  }
}

run "fifo_queue" {
  command = apply

  variables {
    name                   = "shop-orders.fifo"
    dead_letter_queue_name = "shop-orders-dead.fifo"
  }

  assert {
    condition     = aws_sqs_queue.this.fifo_queue && aws_sqs_queue.dead_letter.fifo_queue
    error_message = "both queues are FIFO"
  }
  assert {
    condition     = aws_sqs_queue.this.fifo_throughput_limit == "perMessageGroupId"
    error_message = "high throughput mode"
  }
}

run "dead_letter_queue_of_another_type" {
  command = plan

  variables {
    name = "shop-orders.fifo"
  }

  expect_failures = [aws_sqs_queue.dead_letter]
}

run "dead_letters_that_vanish_with_their_queue_s_messages" {
  command = plan

  variables {
    message_retention_seconds     = 345600
    dead_letter_retention_seconds = 345600
  }

  expect_failures = [aws_sqs_queue.dead_letter]
}

run "own_key_and_six_times_the_function_timeout" {
  command = plan

  variables {
    kms_key_arn              = "arn:aws:kms:eu-west-1:123456789012:key/0d7d8b6a-8f39-4b0e-9a3e-b8b6c1f1a111"
    function_timeout_seconds = 30
  }

  assert {
    condition     = aws_sqs_queue.this.kms_master_key_id == var.kms_key_arn && aws_sqs_queue.dead_letter.kms_master_key_id == var.kms_key_arn
    error_message = "the key that was given"
  }
}

run "what_loses_work" {
  command = plan

  variables {
    name                     = "shop orders"
    function_timeout_seconds = 31 # over a sixth of the visibility timeout
    max_receive_count        = 3
  }

  expect_failures = [var.name, var.function_timeout_seconds, var.max_receive_count]
}
