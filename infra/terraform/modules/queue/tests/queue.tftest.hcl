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

run "standard_queue_by_default_is_encrypted_and_tls_only" {
  command = apply

  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount == 5
    error_message = "maxReceiveCount is not 5 by default"
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead_letter.arn
    error_message = "dead letters do not go to the queue's own dead-letter queue"
  }
  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled && aws_sqs_queue.dead_letter.sqs_managed_sse_enabled
    error_message = "a queue is not encrypted by default"
  }
  assert {
    condition     = length(aws_sqs_queue_policy.tls_only) == 2
    error_message = "a queue is open to calls without TLS"
  }
  assert {
    condition     = !aws_sqs_queue.this.fifo_queue
    error_message = "a name without .fifo makes a FIFO queue"
  }
}

run "fifo_name_makes_two_fifo_queues" {
  command = apply

  variables {
    name                   = "shop-orders.fifo"
    dead_letter_queue_name = "shop-orders-dead.fifo"
  }

  assert {
    condition     = aws_sqs_queue.this.fifo_queue && aws_sqs_queue.dead_letter.fifo_queue
    error_message = "one of the queues is not FIFO"
  }
  assert {
    condition     = aws_sqs_queue.this.fifo_throughput_limit == "perMessageGroupId"
    error_message = "the queue is not in high-throughput mode"
  }
}

run "dead_letter_queue_of_another_type_is_refused" {
  command = plan

  variables {
    name = "shop-orders.fifo"
  }

  expect_failures = [aws_sqs_queue.dead_letter]
}

run "dead_letters_that_expire_with_their_messages_are_refused" {
  command = plan

  variables {
    message_retention_seconds     = 345600
    dead_letter_retention_seconds = 345600
  }

  expect_failures = [aws_sqs_queue.dead_letter]
}

run "own_key_encrypts_both_queues" {
  command = plan

  variables {
    kms_key_arn              = "arn:aws:kms:eu-west-1:123456789012:key/0d7d8b6a-8f39-4b0e-9a3e-b8b6c1f1a111"
    function_timeout_seconds = 30 # exactly a sixth of the visibility timeout
  }

  assert {
    condition     = aws_sqs_queue.this.kms_master_key_id == var.kms_key_arn && aws_sqs_queue.dead_letter.kms_master_key_id == var.kms_key_arn
    error_message = "a queue is not encrypted with the given key"
  }
}

run "settings_that_lose_work_are_refused" {
  command = plan

  variables {
    name                     = "shop orders"
    function_timeout_seconds = 31 # over a sixth of the visibility timeout
    max_receive_count        = 3
  }

  expect_failures = [var.name, var.function_timeout_seconds, var.max_receive_count]
}
