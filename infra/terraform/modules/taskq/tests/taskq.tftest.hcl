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
  declared = {
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
    services = {}
    tables   = { shop-results = { name = "shop-results", region = null, hash_key = "id", ttl_attribute = "ttl" } }
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
    schedule_group = null
    schedules      = {}
  }
  package             = { filename = "tests/package.txt" }
  deletion_protection = false # so that the tests can destroy what they make
}

run "declared_application_is_made_as_a_whole" {
  command = apply

  assert {
    condition     = output.function_names.orders == "shop-orders"
    error_message = "the queue has no function"
  }
  assert {
    condition     = keys(output.producer_policy_arns) == ["shop-producer"]
    error_message = "there is no policy for programs that call tasks"
  }
  assert {
    condition     = length(output.alarm_names) == 8
    error_message = "the alarms are not made by default"
  }
}

run "only_queues_that_are_named_lose_their_protection" {
  command = plan

  variables {
    deletion_protection = true
    unprotected_queues  = ["orders"]
    declared            = merge(var.declared, { queues = merge(var.declared.queues, { mail = merge(var.declared.queues.orders, { name = "shop-mail", dead_letter_queue_name = "shop-mail-dead" }) }) })
  }

  assert {
    condition     = { for key, record in terraform_data.queue : key => record.input.protected } == { orders = false, mail = true }
    error_message = "a queue is protected though it is named, or is not protected"
  }
}

run "senders_of_a_queue_that_is_not_declared_are_refused" {
  command = plan

  variables {
    senders = { oders = { partner = { principal_arns = ["arn:aws:iam::210987654321:root"] } } }
  }

  expect_failures = [var.senders]
}

run "options_of_one_function_replace_those_of_every_function" {
  command = apply

  variables {
    layer_filename = "tests/package.txt"
    function_vpc   = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
    function = {
      alias                   = { name = "stable" }
      ephemeral_storage_mb    = 1024
      log_level               = "WARN"
      log_retention_days      = 7
      code_signing_config_arn = "arn:aws:lambda:eu-west-1:123456789012:code-signing-config:csc-0d7d8b6a8f394b0ea"
      kms_key_arn             = "arn:aws:kms:eu-west-1:123456789012:key/environment"
      log_kms_key_arn         = "arn:aws:kms:eu-west-1:123456789012:key/logs"
      tags                    = { team = "shop" }
    }
    functions = {
      mail = { alias = { name = "live" }, provisioned_concurrency = 2, vpc = { subnet_ids = ["subnet-0fedcba9876543210"], security_group_ids = ["sg-0fedcba9876543210"] }, log_level = "ERROR" }
    }
    declared = merge(var.declared, {
      queues    = merge(var.declared.queues, { mail = merge(var.declared.queues.orders, { name = "shop-mail", dead_letter_queue_name = "shop-mail-dead" }) })
      functions = merge(var.declared.functions, { mail = merge(var.declared.functions.orders, { name = "shop-mail", queue = "mail" }) })
    })
  }

  assert {
    condition     = keys(output.function_aliases) == ["mail", "orders"] && length(aws_lambda_layer_version.this) == 1
    error_message = "a function has no alias, or the functions don't share one layer"
  }
  assert {
    condition = jsonencode(local.function_options.orders) == jsonencode({
      alias                   = { name = "stable", function_version = null, weights = {}, code_deploy = false }
      asynchronous            = null
      code_signing_config_arn = "arn:aws:lambda:eu-west-1:123456789012:code-signing-config:csc-0d7d8b6a8f394b0ea"
      enabled                 = true
      ephemeral_storage_mb    = 1024
      image_config            = { command = null, entry_point = null, working_directory = null }
      kms_key_arn             = "arn:aws:kms:eu-west-1:123456789012:key/environment"
      log_kms_key_arn         = "arn:aws:kms:eu-west-1:123456789012:key/logs"
      log_level               = "WARN"
      log_retention_days      = 7
      on_failure_arn          = null
      provisioned_concurrency = null
      snap_start              = false
      tags                    = { team = "shop" }
      vpc                     = null
    })
    error_message = "options of every function do not reach a function that has none of its own"
  }
  assert {
    condition     = [local.function_options.mail.alias.name, local.function_options.mail.provisioned_concurrency, local.function_options.mail.log_level, local.function_options.mail.ephemeral_storage_mb, local.function_options.mail.vpc.subnet_ids[0]] == ["live", 2, "ERROR", 1024, "subnet-0fedcba9876543210"]
    error_message = "an option of one function does not replace that of every function, or replaces more"
  }
}

run "options_of_a_function_that_is_not_declared_are_refused" {
  command = plan

  variables {
    functions = { oders = { enabled = false } }
  }

  expect_failures = [var.functions]
}

run "provider_in_another_region_fails_the_check" {
  command = plan

  variables {
    declared = merge(var.declared, { region = "us-east-1" })
  }

  expect_failures = [check.region]
}

run "missing_archive_image_and_network_are_refused" {
  command = plan

  variables {
    package = null
    declared = merge(var.declared, {
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
    })
  }

  expect_failures = [var.package, var.image, var.network]
}

run "schedule_role_among_the_roles_is_refused" {
  command = plan

  variables {
    declared = merge(var.declared, {
      schedule_group = {
        name                          = "shop"
        role_name                     = "shop-producer"
        dead_letter_queue_name        = "shop-schedules-dead"
        dead_letter_retention_seconds = 1209600
      }
    })
  }

  expect_failures = [var.declared]
}

run "application_on_servers_reaches_them_and_scales_by_its_processors" {
  command = apply

  variables {
    declared = {
      name   = "shop"
      queues = {}
      services = {
        shop-worker = {
          name                 = "shop-worker"
          role                 = "shop-worker-service"
          queues               = ["orders"]
          command              = ["taskq", "worker", "-Q", "orders"]
          cpu_units            = 512
          memory_mb            = 1024
          minimum_tasks        = 1
          maximum_tasks        = 4
          backlog_per_task     = 100
          stop_timeout_seconds = 30
          environment          = { TASKQ_APP = "shop:app" }
        }
      }
      roles = { shop-worker-service = { assumed_by = "ecs-tasks.amazonaws.com", statements = {} } }
      servers = {
        broker = {
          kind      = "redis"
          addresses = [{ host = "one", port = 6379 }, { host = "two", port = 6379 }]
          uses      = [{ variable = "TASKQ_BROKER", secret = true }]
        }
      }
    }
    image         = "shop:1"
    network       = { subnet_ids = ["subnet-1"], security_group_ids = [] }
    secrets       = { TASKQ_BROKER = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:broker" }
    server_access = { vpc_id = "vpc-1", servers = { broker = { security_group_id = "sg-1" } } }
  }

  assert {
    condition     = local.reached_servers.broker.ports == tolist([6379])
    error_message = "the port is not the declared one, once"
  }
  assert {
    condition     = output.server_client_security_group_id != null
    error_message = "there is no security group for the programs that call tasks"
  }
}

run "password_without_a_secret_is_refused" {
  command = plan

  variables {
    declared = {
      name    = "shop"
      queues  = {}
      servers = { broker = { kind = "redis", addresses = [{ host = "one", port = 6379 }], uses = [{ variable = "TASKQ_BROKER", secret = true }] } }
    }
  }

  expect_failures = [var.secrets]
}

run "access_to_an_undeclared_server_is_refused" {
  command = plan

  variables {
    server_access = { vpc_id = "vpc-1", servers = { results = { cidr_ipv4 = "203.0.113.7/32" } } }
    function_vpc  = { subnet_ids = ["subnet-1"], security_group_ids = [] }
  }

  expect_failures = [var.server_access]
}

run "functions_outside_of_a_vpc_are_refused_servers" {
  command = plan

  variables {
    server_access = { vpc_id = "vpc-1", servers = {} }
  }

  expect_failures = [var.server_access]
}
