# Scaling by the work on the queues: containers are added as messages arrive, and removed once the queues are empty. The
# messages of a broker outside of SQS have no metrics here, so its containers are scaled by their processors.

locals {
  # Application Auto Scaling allows at most 20 steps in a policy ("Step scaling policies for Application Auto Scaling").
  most_steps = min(20, var.maximum_tasks)
  # Number of containers for each step. Steps below the minimum are merged into one.
  capacities = distinct([for step in range(1, local.most_steps + 1) : max(var.minimum_tasks, ceil(step * var.maximum_tasks / local.most_steps))])
  steps      = length(local.capacities)
  # Number of messages from which each step holds, less the alarm's threshold of 1.
  bounds = [for step in range(0, local.steps) : step == 0 ? 0 : local.capacities[step - 1] * var.backlog_per_task]
  counts = { for index, pair in setproduct(sort(var.queue_names), ["Visible", "NotVisible"]) : "m${index}" => pair }
  # A queue that nobody has used for six hours has no metrics ("Available CloudWatch metrics for Amazon SQS"), and a sum
  # with a missing metric is itself missing ("Using math expressions with CloudWatch metrics"). FILL counts it as zero.
  work = "SUM([${join(", ", [for id in sort(keys(local.counts)) : "FILL(${id}, 0)"])}])"
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.minimum_tasks
  max_capacity       = var.maximum_tasks

  lifecycle {
    precondition {
      condition     = var.minimum_tasks >= 1 || length(var.queue_names) > 0
      error_message = "Without queues, nothing would start the first container: minimum_tasks is at least 1."
    }
  }
}

# The number of containers is the number of messages, waiting and in flight, divided by backlog_per_task. Steps of exact
# capacity can start from zero containers, which target tracking can't, and need no Container Insights metrics.
resource "aws_appautoscaling_policy" "work" {
  count = length(var.queue_names) > 0 ? 1 : 0

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
  count = length(var.queue_names) > 0 ? 1 : 0

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
  count = length(var.queue_names) > 0 ? 1 : 0

  alarm_name          = "${var.name}-work"
  alarm_description   = "Scales ${var.name}: its queues hold work."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.work[0].arn]
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
  count = length(var.queue_names) > 0 ? 1 : 0

  alarm_name          = "${var.name}-idle"
  alarm_description   = "Scales ${var.name} in: its queues have been empty for ${var.idle_minutes} minutes."
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = var.idle_minutes
  # Missing metrics mean that no queue has been used for hours, so there is no work.
  treat_missing_data = "breaching"
  alarm_actions      = [aws_appautoscaling_policy.idle[0].arn]
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

resource "aws_appautoscaling_policy" "processor" {
  count = length(var.queue_names) > 0 ? 0 : 1

  name               = "${var.name}-processor"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
