mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
}

variables {
  name                            = "shop"
  queues                          = { orders = { name = "shop-orders", dead_letter_queue_name = "shop-orders-dead" } }
  function_names                  = ["shop-orders"]
  table_names                     = ["shop-results"]
  schedule_dead_letter_queue_name = "shop-schedules-dead"
  alarm_topic_arns                = ["arn:aws:sns:eu-west-1:123456789012:alarms"]
}

run "alarms_by_default_cover_queues_functions_tables_and_schedules" {
  command = apply

  assert {
    condition     = length(output.alarm_names) == 7
    error_message = "there are not 7 alarms: two each for the queue, the function and the table, and one for the schedules"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters["orders"].threshold == 0
    error_message = "one dead letter raises no alarm"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.oldest_message["orders"].threshold == 900
    error_message = "the default age of the oldest message is not a quarter of an hour"
  }
  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : alltrue([for metric in widget.properties.metrics : length(metric) == 4])])
    error_message = "a metric of the dashboard does not consist of namespace, name, dimension and value"
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets) == 7
    error_message = "there are not 7 widgets: four for queues, two for functions and one for tables"
  }
  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.properties.stat if widget.properties.metrics[0][1] == "ConcurrentExecutions"] == ["Maximum"]
    error_message = "instances are added up, and each invocation reports all of them"
  }
}

run "dashboard_turned_off_is_not_made" {
  command = plan

  variables {
    dashboard = false
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.this) == 0
    error_message = "there is a dashboard"
  }
}

run "oldest_message_age_of_zero_is_refused" {
  command = plan

  variables {
    queues = { orders = { name = "shop-orders", dead_letter_queue_name = "shop-orders-dead", oldest_message_seconds = 0 } }
  }

  expect_failures = [var.queues]
}
