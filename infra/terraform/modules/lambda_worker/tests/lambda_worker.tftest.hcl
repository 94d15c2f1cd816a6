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

run "function_by_default_reports_failures_and_is_bounded" {
  command = apply

  assert {
    condition     = aws_lambda_event_source_mapping.this.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "the mapping lacks ReportBatchItemFailures, so Lambda would delete messages that failed"
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.scaling_config[0].maximum_concurrency == 20
    error_message = "a long queue takes more than 20 instances by default"
  }
  assert {
    condition     = aws_lambda_function_recursion_config.this.recursive_loop == "Allow"
    error_message = "Lambda stops a chain of more than 16 tasks"
  }
  assert {
    condition     = aws_lambda_function.this.handler == "taskq_cloud.lambda_function.lambda_handler"
    error_message = "the handler is not the library's"
  }
  assert {
    condition     = aws_lambda_function.this.source_code_hash == filebase64sha256("tests/package.txt")
    error_message = "the hash is not that of the archive, so an unchanged archive would be a change"
  }
  assert {
    condition     = aws_lambda_function.this.logging_config[0].log_format == "JSON"
    error_message = "log records lose their fields"
  }
  assert {
    condition     = length(aws_iam_role_policy.platform) == 0
    error_message = "the role gets permissions that nothing needs"
  }
}

run "function_in_a_vpc_with_a_failure_topic_gets_permissions_for_both" {
  command = apply

  variables {
    vpc            = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
    on_failure_arn = "arn:aws:sns:eu-west-1:123456789012:shop-failures"
  }

  assert {
    condition     = aws_iam_role_policy.platform[0].role == "shop-orders-function"
    error_message = "the role gets no permissions for network interfaces"
  }
  assert {
    condition = [for each in data.aws_iam_policy_document.platform[0].statement : contains(each.actions, "ec2:CreateNetworkInterface") && each.effect != "Deny"] == [true, false, false, false] && (
      one(data.aws_iam_policy_document.platform[0].statement[2].condition).values == tolist(["arn:aws:lambda:eu-west-1:123456789012:function:shop-orders"])
    )
    error_message = "the function's code may create network interfaces, or Lambda may not"
  }
  assert {
    condition     = data.aws_iam_policy_document.platform[0].statement[3].actions == toset(["sns:Publish"])
    error_message = "the role may not publish to the failure topic"
  }
}

run "traced_function_with_a_failure_queue_gets_permissions_for_both" {
  command = apply

  variables {
    tracing    = true
    batch_size = 100

    batching_window_seconds = 5
    on_failure_arn          = "arn:aws:sqs:eu-west-1:123456789012:shop-failures"
  }

  assert {
    condition     = { for each in data.aws_iam_policy_document.platform[0].statement : each.sid => sort(each.actions) } == { SendTraces = tolist(["xray:PutTelemetryRecords", "xray:PutTraceSegments"]), KeepFailures = tolist(["sqs:SendMessage"]) }
    error_message = "the role may not send traces, or failures to the queue"
  }
}

run "provisioned_pollers_take_the_place_of_a_maximum_concurrency" {
  command = plan

  variables {
    provisioned_pollers = { maximum = 50 }
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.this.scaling_config) == 0
    error_message = "the mapping has a maximum concurrency besides its pollers"
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.provisioned_poller_config[0].minimum_pollers == 2 && aws_lambda_event_source_mapping.this.provisioned_poller_config[0].maximum_pollers == 50
    error_message = "the mapping's pollers differ from the variable"
  }
}

run "messages_reach_an_alias_that_shifts_a_part_of_them" {
  command = apply

  variables {
    alias                   = { function_version = "7", weights = { "8" = 0.1 } }
    provisioned_concurrency = 5
    ephemeral_storage_mb    = 2048
    tags                    = { team = "shop" }
  }

  assert {
    condition     = aws_lambda_function.this.publish && aws_lambda_event_source_mapping.this.function_name == aws_lambda_alias.this[0].arn
    error_message = "no version is published, or the messages go past the alias"
  }
  assert {
    condition     = aws_lambda_alias.this[0].function_version == "7" && aws_lambda_alias.this[0].routing_config[0].additional_version_weights == tomap({ "8" = 0.1 })
    error_message = "a tenth of the messages does not reach version 8"
  }
  assert {
    condition     = aws_lambda_provisioned_concurrency_config.this[0].qualifier == "live" && aws_lambda_provisioned_concurrency_config.this[0].provisioned_concurrent_executions == 5
    error_message = "no instances are kept ready for the alias"
  }
  assert {
    condition     = aws_lambda_function.this.ephemeral_storage[0].size == 2048 && aws_lambda_event_source_mapping.this.tags == tomap({ team = "shop" })
    error_message = "the storage is not as given, or the mapping has no tags"
  }
}

run "alias_that_code_deploy_moves_is_only_made" {
  command = apply

  variables {
    alias = { name = "stable", code_deploy = true }
  }

  assert {
    condition     = length(aws_lambda_alias.this) == 0 && output.alias_name == "stable" && aws_lambda_event_source_mapping.this.function_name == aws_lambda_alias.code_deploy[0].arn
    error_message = "Terraform would move the alias back, or the messages go past it"
  }
}

run "function_from_an_image_has_its_handler_as_the_command" {
  command = apply

  variables {
    package = { image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1" }
  }

  assert {
    condition     = aws_lambda_function.this.package_type == "Image" && aws_lambda_function.this.image_config[0].command == tolist(["taskq_cloud.lambda_function.lambda_handler"])
    error_message = "the function does not run the handler from the image"
  }
}

run "asynchronous_invocations_have_destinations_and_permissions_for_them" {
  command = apply

  variables {
    asynchronous = {
      maximum_retries = 0
      on_success_arn  = "arn:aws:events:eu-west-1:123456789012:event-bus/shop"
      on_failure_arn  = "arn:aws:sqs:eu-west-1:123456789012:shop-failures"
    }
  }

  assert {
    condition     = { for each in data.aws_iam_policy_document.platform[0].statement : each.sid => "${one(each.actions)} ${one(each.resources)}" } == { KeepResultsInEvents = "events:PutEvents arn:aws:events:eu-west-1:123456789012:event-bus/shop", KeepResultsInSqs = "sqs:SendMessage arn:aws:sqs:eu-west-1:123456789012:shop-failures" }
    error_message = "Lambda may not send to the destinations, or may do more"
  }
  assert {
    condition     = aws_lambda_function_event_invoke_config.this[0].maximum_retry_attempts == 0 && aws_lambda_function_event_invoke_config.this[0].destination_config[0].on_failure[0].destination == "arn:aws:sqs:eu-west-1:123456789012:shop-failures"
    error_message = "a failed invocation is repeated, or its record is lost"
  }
}

run "weights_without_a_version_for_the_others_are_refused" {
  command = plan

  variables {
    alias = { weights = { "8" = 0.1 } }
  }

  expect_failures = [var.alias]
}

run "versions_of_an_alias_that_code_deploy_moves_are_refused" {
  command = plan

  variables {
    alias = { code_deploy = true, function_version = "7" }
  }

  expect_failures = [var.alias]
}

run "layers_of_an_image_and_instances_without_an_alias_are_refused" {
  command = plan

  variables {
    package                 = { image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1" }
    layer_arns              = ["arn:aws:lambda:eu-west-1:123456789012:layer:shop:1"]
    provisioned_concurrency = 1
    ephemeral_storage_mb    = 100
    asynchronous            = { maximum_retries = 3 }
  }

  expect_failures = [var.package, var.provisioned_concurrency, var.ephemeral_storage_mb, var.asynchronous]
}

run "function_with_snapshots_is_invoked_by_its_alias" {
  command = apply

  variables {
    snap_start = true
  }

  assert {
    condition     = aws_lambda_function.this.publish && aws_lambda_function.this.snap_start[0].apply_on == "PublishedVersions"
    error_message = "no version is published, and only published versions have snapshots"
  }
  assert {
    condition     = aws_lambda_alias.this[0].function_version == aws_lambda_function.this.version
    error_message = "the alias is not that of the newest version"
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.function_name == aws_lambda_alias.this[0].arn
    error_message = "the mapping invokes $LATEST, which has no snapshot"
  }
}

run "snapshots_of_an_old_runtime_are_refused" {
  command = plan

  variables {
    snap_start = true
    runtime    = "python3.11"
  }

  expect_failures = [var.snap_start]
}

run "snapshots_of_an_image_or_beside_instances_that_are_kept_ready_are_refused" {
  command = plan

  variables {
    snap_start              = true
    package                 = { image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1" }
    alias                   = {}
    provisioned_concurrency = 1
  }

  expect_failures = [var.snap_start]
}

run "settings_out_of_lambdas_range_are_refused" {
  command = plan

  variables {
    timeout_seconds                  = 1801
    queue_visibility_timeout_seconds = 43200
    batch_size                       = 11 # without a window
    maximum_concurrency              = 1
    recursive_loop                   = "Deny"
    environment                      = { TASKQ_BROKER = "sqs:///" } # without TASKQ_APP
    package                          = {}
  }

  expect_failures = [var.timeout_seconds, var.batch_size, var.maximum_concurrency, var.recursive_loop, var.environment, var.package]
}

run "settings_that_contradict_each_other_are_refused" {
  command = plan

  variables {
    timeout_seconds         = 31 # over a sixth of the visibility timeout
    reserved_concurrency    = 5  # less than maximum_concurrency
    queue_arn               = "arn:aws:sqs:eu-west-1:123456789012:shop-orders.fifo"
    batching_window_seconds = 5 # not supported by FIFO queues
  }

  expect_failures = [var.timeout_seconds, var.reserved_concurrency, var.batching_window_seconds]
}

run "function_gets_references_to_its_secrets_and_may_read_them" {
  command = apply

  variables {
    secrets = {
      SHOP_PASSWORD = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-a1b2c3:password::"
      SHOP_TOKEN    = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-a1b2c3:token::"
      SHOP_KEY      = "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/key"
    }
    secrets_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/0d7d8b6a-8f39-4b0e-9a3e-b8b6c1f1a111"]
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.TASKQ_SECRETS == jsonencode(var.secrets)
    error_message = "the function is not given the references"
  }
  assert {
    condition = { for each in data.aws_iam_policy_document.platform[0].statement : each.sid => [one(each.actions), one(each.resources)] } == {
      ReadSecrets    = ["secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-a1b2c3"]
      ReadParameters = ["ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/key"]
      DecryptSecrets = ["kms:Decrypt", "arn:aws:kms:eu-west-1:123456789012:key/0d7d8b6a-8f39-4b0e-9a3e-b8b6c1f1a111"]
    }
    error_message = "the role may not read the secrets, or more than these"
  }
}

run "value_of_a_secret_is_refused" {
  command = plan

  variables {
    secrets = { SHOP_PASSWORD = "open sesame" }
  }

  expect_failures = [var.secrets]
}
