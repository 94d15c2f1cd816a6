# A dashboard of the queues, the functions, the failed tasks and the tables.

data "aws_region" "current" {}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.dashboard ? 1 : 0

  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, widget in concat(
        length(var.queues) == 0 ? [] : [
          {
            title = "Messages waiting"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name]
            ]
            stat = "Maximum"
          },
          {
            title = "Age of the oldest message, seconds"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name]
            ]
            stat = "Maximum"
          },
          {
            title = "Messages deleted: tasks done"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "NumberOfMessagesDeleted", "QueueName", queue.name]
            ]
            stat = "Sum"
          },
          {
            title = "Dead letters"
            metrics = [
              for key, queue in var.queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.dead_letter_queue_name]
            ]
            stat = "Maximum"
          },
        ],
        length(var.function_names) == 0 ? [] : [
          {
            title   = "Functions: instances"
            metrics = [for name in var.function_names : ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", name]]
            stat    = "Maximum" # each invocation reports the number of all instances
          },
          {
            title = "Functions: errors, throttles"
            metrics = [
              for pair in setproduct(var.function_names, ["Errors", "Throttles"]) :
              ["AWS/Lambda", pair[1], "FunctionName", pair[0]]
            ]
            stat = "Sum"
          },
        ],
        length(var.log_group_names) == 0 ? [] : [
          {
            title   = "Failed tasks"
            metrics = [for name in keys(var.log_group_names) : ["taskq", "${name}-failed-tasks"]]
            stat    = "Sum"
          },
        ],
        length(var.table_names) == 0 ? [] : [
          {
            title = "Table: capacity used"
            metrics = [
              for pair in setproduct(var.table_names, ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"]) :
              ["AWS/DynamoDB", pair[1], "TableName", pair[0]]
            ]
            stat = "Sum"
          },
        ],
      ) :
      {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = data.aws_region.current.id
          metrics = widget.metrics
          stat    = widget.stat
          period  = 60
          view    = "timeSeries"
        }
      }
    ]
  })
}
