# What becomes of direct asynchronous invocations. Messages of the queue have nothing to do with it: they are retried by
# the queue, and end in its dead-letter queue.

locals {
  # Service of a destination -> the action that Lambda needs for it.
  destination_actions = { events = "events:PutEvents", lambda = "lambda:InvokeFunction", sns = "sns:Publish", sqs = "sqs:SendMessage" }
  destination_arns    = var.asynchronous == null ? [] : [for arn in [var.asynchronous.on_success_arn, var.asynchronous.on_failure_arn] : arn if arn != null]
}

resource "aws_lambda_function_event_invoke_config" "this" {
  count = var.asynchronous == null ? 0 : 1

  function_name                = aws_lambda_function.this.function_name
  qualifier                    = local.alias_name
  maximum_event_age_in_seconds = var.asynchronous.maximum_age_seconds
  maximum_retry_attempts       = var.asynchronous.maximum_retries

  dynamic "destination_config" {
    for_each = length(local.destination_arns) == 0 ? [] : [var.asynchronous]

    content {
      dynamic "on_success" {
        for_each = destination_config.value.on_success_arn == null ? [] : [destination_config.value.on_success_arn]

        content {
          destination = on_success.value
        }
      }

      dynamic "on_failure" {
        for_each = destination_config.value.on_failure_arn == null ? [] : [destination_config.value.on_failure_arn]

        content {
          destination = on_failure.value
        }
      }
    }
  }

  # Lambda refuses a destination that the role has no permission for.
  depends_on = [aws_iam_role_policy.platform]
}
