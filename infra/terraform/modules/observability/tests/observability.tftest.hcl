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

run "alarms" {
  command = apply

  assert {
    condition     = length(output.alarm_names) == 7
    error_message = "age and dead letters of the queue, errors and throttles of the function, throttles of the table, the schedules'"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters["orders"].threshold == 0
    error_message = "one dead letter is an alarm"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.oldest_message["orders"].threshold == 900
    error_message = "a quarter of an hour unless told otherwise"
  }
  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : alltrue([for metric in widget.properties.metrics : length(metric) == 4])])
    error_message = "every metric of the dashboard is namespace, name, dimension and value"
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets) == 7
    error_message = "four widgets of queues, two of functions, one of tables"
  }
  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.properties.stat if widget.properties.metrics[0][1] == "ConcurrentExecutions"] == ["Maximum"]
    error_message = "instances are not added up"
  }
}

run "without_a_dashboard" {
  command = plan

  variables {
    dashboard = false
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.this) == 0
    error_message = "none where none is wanted"
  }
}

run "an_age_of_nothing" {
  command = plan

  variables {
    queues = { orders = { name = "shop-orders", dead_letter_queue_name = "shop-orders-dead", oldest_message_seconds = 0 } }
  }

  expect_failures = [var.queues]
}
