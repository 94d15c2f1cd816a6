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
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:shop-orders" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-orders-function" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/shop-results" }
  }
}

variables {
  name   = "shop"
  region = "eu-west-1"
  queues = {
    orders = {
      name                          = "shop-orders"
      fifo                          = false
      runtime                       = "lambda"
      visibility_timeout_seconds    = 1818
      message_retention_seconds     = 345600
      max_receive_count             = 5
      dead_letter_queue_name        = "shop-orders-dead"
      dead_letter_retention_seconds = 1209600
    }
  }
  functions = {
    orders = {
      name                    = "shop-orders"
      role                    = "shop-orders-function"
      queue                   = "orders"
      timeout_seconds         = 303
      memory_mb               = 1024
      batch_size              = 10
      batching_window_seconds = 0
      maximum_concurrency     = 20
      reserved_concurrency    = null
      environment             = { TASKQ_APP = "shop:app" }
    }
  }
  tables = { shop-results = { name = "shop-results", region = null, hash_key = "id", ttl_attribute = "ttl" } }
  roles = {
    shop-orders-function = {
      assumed_by = "lambda.amazonaws.com"
      statements = { SendTasks = { actions = ["sqs:SendMessage"], conditions = [], resources = ["arn:{partition}:sqs:{region}:{account}:shop-orders"] } }
    }
    shop-producer = {
      assumed_by = null
      statements = { SendTasks = { actions = ["sqs:SendMessage"], conditions = [], resources = ["arn:{partition}:sqs:{region}:{account}:shop-orders"] } }
    }
  }
  package = { filename = "tests/package.txt" }
}

run "all_of_it" {
  command = apply

  assert {
    condition     = output.function_names.orders == "shop-orders"
    error_message = "a function for the queue"
  }
  assert {
    condition     = keys(output.producer_policy_arns) == ["shop-producer"]
    error_message = "a policy for those who call tasks"
  }
  assert {
    condition     = length(output.alarm_names) == 6
    error_message = "alarms without being asked for"
  }
}

run "provider_of_another_region" {
  command = plan

  variables {
    region = "us-east-1"
  }

  expect_failures = [check.region]
}

run "what_only_the_user_knows_and_a_role_that_is_made_twice" {
  command = plan

  variables {
    package = null
    services = {
      shop-worker = {
        name                 = "shop-worker"
        role                 = "shop-producer"
        queues               = ["orders"]
        command              = ["taskq", "worker"]
        cpu_units            = 512
        memory_mb            = 1024
        minimum_tasks        = 0
        maximum_tasks        = 4
        backlog_per_task     = 100
        stop_timeout_seconds = 30
        environment          = {}
      }
    }
    schedule_group = {
      name                          = "shop"
      role_name                     = "shop-producer"
      dead_letter_queue_name        = "shop-schedules-dead"
      dead_letter_retention_seconds = 1209600
    }
  }

  expect_failures = [var.package, var.image, var.network, var.roles]
}
