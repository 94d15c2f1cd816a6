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
    condition = { for key, document in data.aws_iam_policy_document.queue : key => [for each in document.statement : "${each.effect} ${each.sid} ${one(each.resources)}"] } == {
      for key, name in { main = "shop-orders", dead_letter = "shop-orders-dead" } :
      key => [for sid in ["DenyWithoutTLS", "DenyDeletion"] : "Deny ${sid} arn:aws:sqs:eu-west-1:123456789012:${name}"]
    }
    error_message = "a queue is open to calls without TLS or to its deletion, or allows something"
  }
  assert {
    condition     = aws_sqs_queue.this.policy == "{}" && aws_sqs_queue.dead_letter.policy == "{}"
    error_message = "a queue does not have its policy"
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

run "senders_may_send_to_the_queue_on_behalf_of_their_source_only" {
  command = apply

  variables {
    senders = {
      photos  = { service = "s3.amazonaws.com", source_arn = "arn:aws:s3:::shop-photos" }
      uploads = { service = "s3.amazonaws.com", source_arn = "arn:aws:s3:::partner-uploads", source_account = "210987654321" }
      sales   = { service = "sns.amazonaws.com", source_arn = "arn:aws:sns:eu-west-1:123456789012:sales" }
      nightly = { service = "events.amazonaws.com", source_arn = "arn:aws:events:eu-west-1:123456789012:rule/nightly" }
      partner = { principal_arns = ["arn:aws:iam::210987654321:role/web"] }
    }
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.queue["main"].statement : each.sid => join(" ", concat(
        sort(each.actions), sort(flatten(each.principals[*].identifiers)), sort([for condition in each.condition : "${condition.variable}=${one(condition.values)}"])
      )) if each.effect != "Deny"
      } == {
      Sender-photos  = "sqs:SendMessage s3.amazonaws.com aws:SourceAccount=123456789012 aws:SourceArn=arn:aws:s3:::shop-photos"
      Sender-uploads = "sqs:SendMessage s3.amazonaws.com aws:SourceAccount=210987654321 aws:SourceArn=arn:aws:s3:::partner-uploads"
      Sender-sales   = "sqs:SendMessage sns.amazonaws.com aws:SourceArn=arn:aws:sns:eu-west-1:123456789012:sales"
      Sender-nightly = "sqs:SendMessage events.amazonaws.com aws:SourceArn=arn:aws:events:eu-west-1:123456789012:rule/nightly"
      Sender-partner = "sqs:SendMessage arn:aws:iam::210987654321:role/web"
    }
    error_message = "a sender may do more or less than send to the queue for its source"
  }
  assert {
    condition     = [for each in data.aws_iam_policy_document.queue["dead_letter"].statement : each.sid] == ["DenyWithoutTLS", "DenyDeletion"]
    error_message = "a sender may send to the dead-letter queue"
  }
}

run "unprotected_queue_may_be_deleted" {
  command = plan

  variables {
    deletion_protection = false
  }

  assert {
    condition     = toset(flatten([for document in data.aws_iam_policy_document.queue : document.statement[*].sid])) == toset(["DenyWithoutTLS"])
    error_message = "a queue without protection can't be deleted"
  }
}

run "service_without_a_source_is_refused" {
  command = plan

  variables {
    senders = { all = { service = "s3.amazonaws.com" } }
  }

  expect_failures = [var.senders]
}

run "source_with_a_wildcard_is_refused" {
  command = plan

  variables {
    senders = { all = { service = "sns.amazonaws.com", source_arn = "arn:aws:sns:*:*:*" } }
  }

  expect_failures = [var.senders]
}

run "everyone_as_a_sender_is_refused" {
  command = plan

  variables {
    senders = { all = { principal_arns = ["*"] } }
  }

  expect_failures = [var.senders]
}

run "bucket_that_sends_to_a_fifo_queue_is_refused" {
  command = plan

  variables {
    name                   = "shop-orders.fifo"
    dead_letter_queue_name = "shop-orders-dead.fifo"
    senders                = { photos = { service = "s3.amazonaws.com", source_arn = "arn:aws:s3:::shop-photos" } }
  }

  expect_failures = [var.senders]
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
