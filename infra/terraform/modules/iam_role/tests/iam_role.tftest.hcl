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
  name = "shop-orders-function"
  statements = {
    SendTasks = {
      actions   = ["sqs:SendMessage"]
      resources = ["arn:{partition}:sqs:{region}:{account}:shop-orders"]
    }
  }
}

run "role_for_a_service_contains_its_policy" {
  command = apply

  variables {
    assumed_by = "lambda.amazonaws.com"
  }

  assert {
    condition     = local.statements.SendTasks.resources[0] == "arn:aws:sqs:eu-west-1:123456789012:shop-orders"
    error_message = "a placeholder is not replaced"
  }
  assert {
    condition     = length(aws_iam_role.this) == 1 && length(aws_iam_policy.this) == 0
    error_message = "there is no role, or a policy outside of it"
  }
}

run "policy_without_a_service_is_made_to_attach" {
  command = apply

  assert {
    condition     = length(aws_iam_role.this) == 0 && length(aws_iam_policy.this) == 1
    error_message = "there is a role that no service assumes, or no policy"
  }
}

run "wildcard_action_is_refused" {
  command = plan

  variables {
    statements = { All = { actions = ["sqs:*"], resources = ["arn:aws:sqs:eu-west-1:123456789012:shop"] } }
  }

  expect_failures = [var.statements]
}

run "statement_for_all_resources_is_refused" {
  command = plan

  variables {
    statements = { All = { actions = ["sqs:SendMessage"], resources = ["*"] } }
  }

  expect_failures = [var.statements]
}

run "role_without_statements_has_no_policy" {
  command = apply

  variables {
    assumed_by = "ecs-tasks.amazonaws.com"
    statements = {}
  }

  assert {
    condition     = length(aws_iam_role.this) == 1 && length(aws_iam_role_policy.this) == 0
    error_message = "a role without permissions has an empty policy, which IAM refuses"
  }
}
