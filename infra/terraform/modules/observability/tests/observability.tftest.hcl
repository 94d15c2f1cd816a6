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
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/alarms" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:shop-alarms" }
  }
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
  log_group_names                 = { shop-orders = "/aws/lambda/shop-orders" }
  alarm_topic_arns                = ["arn:aws:sns:eu-west-1:123456789012:alarms"]
}

run "alarms_by_default_cover_queues_functions_tables_and_schedules" {
  command = apply

  assert {
    condition     = length(output.alarm_names) == 9
    error_message = "there are not 9 alarms: two each for the queue and the table, three for the function, and one each for the schedules and failed tasks"
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
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : alltrue([for metric in widget.properties.metrics : length(metric) == (metric[0] == "taskq" ? 2 : 4)])])
    error_message = "a metric of the dashboard does not consist of namespace, name, dimension and value, or of namespace and name"
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets) == 8
    error_message = "there are not 8 widgets: four for queues, two for functions and one each for failed tasks and tables"
  }
  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.properties.stat if widget.properties.metrics[0][1] == "ConcurrentExecutions"] == ["Maximum"]
    error_message = "instances are added up, and each invocation reports all of them"
  }
}

run "alarms_reach_people_by_a_topic_whose_key_cloudwatch_may_use" {
  command = apply

  variables {
    emails = ["shop@example.com", "boss@example.com"]
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.failed_tasks["shop-orders"].alarm_actions == toset(["arn:aws:sns:eu-west-1:123456789012:alarms", "arn:aws:sns:eu-west-1:123456789012:shop-alarms"])
    error_message = "an alarm does not notify the topics"
  }
  assert {
    condition     = aws_sns_topic.alarms[0].kms_master_key_id == aws_kms_key.alarms[0].arn && aws_kms_key.alarms[0].policy == "{}"
    error_message = "the topic has another key than the one that CloudWatch may use"
  }
  assert {
    condition = { for document in ["key", "topic"] : document => [
      for each in document == "key" ? data.aws_iam_policy_document.key[0].statement : data.aws_iam_policy_document.topic[0].statement :
      join(" ", concat(sort(each.actions), sort([for condition in each.condition : "${condition.variable}=${one(condition.values)}"]))) if one(each.principals).type == "Service" && one(one(each.principals).identifiers) == "cloudwatch.amazonaws.com"
      ] } == {
      key   = ["kms:Decrypt kms:GenerateDataKey* aws:SourceAccount=123456789012 aws:SourceArn=arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop-*"]
      topic = ["sns:Publish aws:SourceAccount=123456789012 aws:SourceArn=arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop-*"]
    }
    error_message = "CloudWatch may not publish, or may do so for other alarms"
  }
  assert {
    condition     = [for each in values(aws_sns_topic_subscription.email) : "${each.protocol} ${each.endpoint}"] == ["email boss@example.com", "email shop@example.com"]
    error_message = "an address is not subscribed"
  }
}

run "failed_tasks_are_counted_in_the_logs" {
  command = plan

  variables {
    failed_tasks_allowed = 5
  }

  assert {
    condition     = aws_cloudwatch_log_metric_filter.failed_tasks["shop-orders"].log_group_name == "/aws/lambda/shop-orders" && strcontains(aws_cloudwatch_log_metric_filter.failed_tasks["shop-orders"].pattern, "$.action = \"task.failed\"")
    error_message = "failed tasks are not counted"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.failed_tasks["shop-orders"].threshold == 5 && aws_cloudwatch_metric_alarm.failed_tasks["shop-orders"].metric_name == "shop-orders-failed-tasks"
    error_message = "the alarm looks at another metric, or has another threshold"
  }
  assert {
    condition     = length(aws_sns_topic.alarms) == 0 && length(aws_kms_key.alarms) == 0
    error_message = "there is a topic without a reader"
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
