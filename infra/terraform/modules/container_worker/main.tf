# Containers that run `taskq worker` on ECS Fargate: as many as the work on their queues calls for, none when there is none.

locals {
  health_port = 8080
  # Application Auto Scaling takes at most 20 steps a policy ("Step scaling policies for Application Auto Scaling").
  most_steps = min(20, var.maximum_tasks)
  # A step's capacity, and the work from which on it holds, less the alarm's threshold of 1. Steps below the minimum are one.
  capacities = distinct([for step in range(1, local.most_steps + 1) : max(var.minimum_tasks, ceil(step * var.maximum_tasks / local.most_steps))])
  steps      = length(local.capacities)
  bounds     = [for step in range(0, local.steps) : step == 0 ? 0 : local.capacities[step - 1] * var.backlog_per_task]
  counts     = { for index, pair in setproduct(sort(var.queue_names), ["Visible", "NotVisible"]) : "m${index}" => pair }
  # A queue that nobody has used for six hours has no metrics ("Available CloudWatch metrics for Amazon SQS"), and a sum
  # with one that is missing is missing ("Using math expressions with CloudWatch metrics").
  work = "SUM([${join(", ", [for id in sort(keys(local.counts)) : "FILL(${id}, 0)"])}])"

  # Which memory, in MiB, Fargate has for how many CPU units ("Amazon ECS task definition parameters for Fargate").
  memory_sizes = {
    256   = [512, 1024, 2048]
    512   = range(1024, 4097, 1024)
    1024  = range(2048, 8193, 1024)
    2048  = range(4096, 16385, 1024)
    4096  = range(8192, 30721, 1024)
    8192  = range(16384, 61441, 4096)
    16384 = range(32768, 122881, 8192)
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:how long logs are kept is the user's choice (log_retention_days), not a year for everyone
  # checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key; log_kms_key_arn takes one of the user's
  name              = "/taskq/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  # checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken has no resource to name ("Actions, resources, and condition keys for Amazon ECR")
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.ecr_repository_arn == null ? [] : [var.ecr_repository_arn]

    content {
      sid       = "PullImage"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  dynamic "statement" {
    for_each = length(var.secrets) == 0 ? [] : [values(var.secrets)]

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue", "ssm:GetParameters"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.secrets_kms_key_arns) == 0 ? [] : [var.secrets_kms_key_arns]

    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "${var.name}-execution"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

# While it runs a task, a worker asks ECS not to end its container for scaling in or for a deployment.
data "aws_iam_policy_document" "task_protection" {
  statement {
    sid       = "ProtectItself"
    actions   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
    resources = ["arn:${data.aws_partition.current.partition}:ecs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:task/${var.cluster_name}/*"]
  }
}

resource "aws_iam_role_policy" "task_protection" {
  name   = "task-protection"
  role   = var.task_role_name
  policy = data.aws_iam_policy_document.task_protection.json
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu_units
  memory                   = var.memory_mb
  task_role_arn            = var.task_role_arn
  execution_role_arn       = aws_iam_role.execution.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture == "arm64" ? "ARM64" : "X86_64"
  }

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([{
    name                   = "worker"
    image                  = var.image
    command                = var.command
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = var.stop_timeout_seconds
    mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
    # Something has to reap what a task's own child processes leave behind.
    linuxParameters = { initProcessEnabled = true }
    environment = [
      for name, value in merge({ TASKQ_WORKER_HEALTH_PORT = tostring(local.health_port), TASKQ_LOG_FORMAT = "json" }, var.environment) :
      { name = name, value = value }
    ]
    secrets = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    healthCheck = {
      command     = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:${local.health_port}/healthz', timeout=4)"]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.this.name
        "awslogs-region"        = data.aws_region.current.id
        "awslogs-stream-prefix" = "worker"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  # checkov:skip=CKV_AWS_333:a subnet without NAT needs public addresses to reach SQS; assign_public_ip is off unless asked for
  name                               = var.name
  cluster                            = var.cluster_arn
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = var.minimum_tasks
  propagate_tags                     = "SERVICE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  tags                               = var.tags

  capacity_provider_strategy {
    capacity_provider = var.spot ? "FARGATE_SPOT" : "FARGATE"
    weight            = 1
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = var.security_group_ids
    assign_public_ip = var.assign_public_ip
  }

  lifecycle {
    # Scaling sets it.
    ignore_changes = [desired_count]
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.minimum_tasks
  max_capacity       = var.maximum_tasks
}

# The number of containers is the work, waiting and in flight, over what one container is to have. Steps of exact
# capacity start from none, which target tracking can't, and need no Container Insights to count what runs.
resource "aws_appautoscaling_policy" "work" {
  name               = "${var.name}-work"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type         = "ExactCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = 60

    dynamic "step_adjustment" {
      for_each = range(local.steps)

      content {
        scaling_adjustment          = local.capacities[step_adjustment.value]
        metric_interval_lower_bound = local.bounds[step_adjustment.value]
        metric_interval_upper_bound = step_adjustment.value == local.steps - 1 ? null : local.bounds[step_adjustment.value + 1]
      }
    }
  }
}

resource "aws_appautoscaling_policy" "idle" {
  name               = "${var.name}-idle"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type         = "ExactCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = 60

    step_adjustment {
      scaling_adjustment          = var.minimum_tasks
      metric_interval_upper_bound = 0
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "work" {
  alarm_name          = "${var.name}-work"
  alarm_description   = "Scales ${var.name}: its queues hold work."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.work.arn]
  tags                = var.tags

  metric_query {
    id          = "work"
    expression  = local.work
    label       = "Messages, waiting and in flight"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.counts

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = "ApproximateNumberOfMessages${metric_query.value[1]}"
        dimensions  = { QueueName = metric_query.value[0] }
        period      = 60
        stat        = "Maximum"
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "idle" {
  alarm_name          = "${var.name}-idle"
  alarm_description   = "Scales ${var.name} in: its queues have been empty for ${var.idle_minutes} minutes."
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = var.idle_minutes
  # All queues asleep have no work.
  treat_missing_data = "breaching"
  alarm_actions      = [aws_appautoscaling_policy.idle.arn]
  tags               = var.tags

  metric_query {
    id          = "work"
    expression  = local.work
    label       = "Messages, waiting and in flight"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.counts

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = "ApproximateNumberOfMessages${metric_query.value[1]}"
        dimensions  = { QueueName = metric_query.value[0] }
        period      = 60
        stat        = "Maximum"
      }
    }
  }
}
