mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-worker-execution" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-worker:1" }
  }
  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1" }
  }
}

variables {
  name               = "shop-worker"
  cluster_arn        = "arn:aws:ecs:eu-west-1:123456789012:cluster/shop"
  cluster_name       = "shop"
  image              = "shop:1"
  command            = ["taskq", "worker", "-A", "shop:app", "-Q", "reports"]
  task_role_arn      = "arn:aws:iam::123456789012:role/shop-worker-service"
  task_role_name     = "shop-worker-service"
  environment        = { TASKQ_BROKER = "sqs:///" }
  queue_names        = ["shop-reports"]
  subnet_ids         = ["subnet-0123456789abcdef0"]
  security_group_ids = ["sg-0123456789abcdef0"]
}

run "service_by_default_scales_from_zero_by_backlog" {
  command = apply

  assert {
    condition     = aws_ecs_service.this.desired_count == 0 && aws_appautoscaling_target.this.min_capacity == 0
    error_message = "a container runs while the queues are empty"
  }
  assert {
    condition     = [for step in aws_appautoscaling_policy.work[0].step_scaling_policy_configuration[0].step_adjustment : step.scaling_adjustment] == [1, 2, 3, 4]
    error_message = "the steps do not add one container at a time"
  }
  assert {
    condition     = local.bounds == [0, 100, 200, 300]
    error_message = "the first message does not start a container, or the 101st another one"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].stopTimeout == 30
    error_message = "a worker does not have 30 seconds to end its tasks"
  }
  assert {
    condition     = { for each in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : each.name => each.value }.TASKQ_WORKER_HEALTH_PORT == "8080"
    error_message = "the worker does not serve the port that the health check calls"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.idle[0].evaluation_periods == 5 && aws_cloudwatch_metric_alarm.idle[0].treat_missing_data == "breaching"
    error_message = "missing metrics do not count as idle, or 5 minutes are not the default"
  }
  assert {
    condition     = aws_iam_role_policy.task_protection.role == "shop-worker-service"
    error_message = "the task role does not get the permission to protect its container"
  }
}

run "scaling_with_more_containers_than_steps_ends_at_the_maximum" {
  command = plan

  variables {
    maximum_tasks = 50
  }

  assert {
    condition     = length(local.capacities) == 20 && local.capacities[19] == 50 && local.bounds[1] == 300
    error_message = "there are not 20 steps of which the last is the maximum"
  }
}

run "scaling_with_a_minimum_never_goes_below_it" {
  command = plan

  variables {
    minimum_tasks = 2
  }

  assert {
    condition     = local.capacities == tolist([2, 3, 4]) && local.bounds == [0, 200, 300]
    error_message = "a step is below the minimum, or two steps have equal bounds, which Auto Scaling refuses"
  }
}

run "cpu_units_that_fargate_does_not_offer_are_refused" {
  command = plan

  variables {
    cpu_units = 300
  }

  expect_failures = [var.cpu_units]
}

run "service_of_two_queues_with_secrets_counts_both_and_decrypts" {
  command = plan

  variables {
    minimum_tasks = 4
    queue_names   = ["shop-reports", "shop-images"]
    cpu_units     = 4096
    memory_mb     = 30720
    secrets       = { SHOP_TOKEN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-token-a1b2c3:token::" }

    secrets_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/0d7d8b6a-8f39-4b0e-9a3e-b8b6c1f1a111"]
  }

  assert {
    condition     = { for each in data.aws_iam_policy_document.execution.statement : each.sid => sort(each.resources) }.DecryptSecrets == tolist(var.secrets_kms_key_arns)
    error_message = "the execution role cannot decrypt a secret with the given key"
  }
  assert {
    condition     = { for each in data.aws_iam_policy_document.execution.statement : each.sid => sort(each.resources) }.ReadSecrets == tolist(["arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-token-a1b2c3"])
    error_message = "the policy names a key of the secret, which no ARN contains"
  }

  assert {
    condition     = local.capacities == tolist([4]) && local.bounds == [0]
    error_message = "a service whose minimum is its maximum has more than one step"
  }
  assert {
    condition     = { for query in aws_cloudwatch_metric_alarm.work[0].metric_query : query.id => query.expression }.work == "SUM([FILL(m0, 0), FILL(m1, 0), FILL(m2, 0), FILL(m3, 0)])"
    error_message = "a queue without metrics hides the work of the other one"
  }
  assert {
    condition     = { for query in aws_cloudwatch_metric_alarm.idle[0].metric_query : query.id => query.expression }.work == local.work
    error_message = "a queue without metrics makes the other one look idle"
  }
  assert {
    condition     = !contains(local.memory_sizes["4096"], 31744) && !contains(local.memory_sizes["8192"], 17408) && max(local.memory_sizes["16384"]...) == 122880
    error_message = "the memory sizes differ from those of Fargate: 30 GB at most for 4 CPUs, steps of 4 GB for 8 CPUs, 120 GB at most for 16"
  }
}

run "memory_queues_and_minimum_out_of_range_are_refused" {
  command = plan

  variables {
    memory_mb     = 3000                           # between two sizes that Fargate offers
    queue_names   = ["a", "b", "c", "d", "e", "f"] # an alarm takes two metrics for each of at most 5
    minimum_tasks = 5                              # above the default maximum of 4
  }

  expect_failures = [var.memory_mb, var.queue_names, var.minimum_tasks]
}

run "service_without_queues_scales_by_its_processors" {
  command = apply

  variables {
    queue_names   = []
    minimum_tasks = 2
  }

  assert {
    condition     = length(aws_appautoscaling_policy.work) == 0 && length(aws_cloudwatch_metric_alarm.work) == 0 && length(aws_cloudwatch_metric_alarm.idle) == 0
    error_message = "the service scales by the messages of queues that it doesn't have"
  }
  assert {
    condition     = aws_appautoscaling_policy.processor[0].target_tracking_scaling_policy_configuration[0].target_value == 60 && aws_appautoscaling_target.this.min_capacity == 2
    error_message = "the service does not scale by its processors, from 2 containers"
  }
}

run "service_without_queues_and_without_a_first_container_is_refused" {
  command = plan

  variables {
    queue_names = []
  }

  expect_failures = [aws_appautoscaling_target.this]
}
