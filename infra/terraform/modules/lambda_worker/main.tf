# A Lambda function that serves one queue: the function, its layer, its logs, and its event source mapping.

locals {
  # What `taskq package` has made is here, or has been uploaded to S3.
  from_file = var.package.filename != null
  hash      = local.from_file ? filebase64sha256(var.package.filename) : var.package.sha256_base64
  platform  = var.vpc != null || var.tracing || var.on_failure_arn != null
  place     = "${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  ec2       = "arn:${data.aws_partition.current.partition}:ec2:${local.place}"
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:how long logs are kept is the user's choice (log_retention_days), not a year for everyone
  # checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key; kms_key_arn takes one of the user's
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

# What Lambda does in the function's name beside reading the queue: not the application's to declare.
data "aws_iam_policy_document" "platform" {
  # checkov:skip=CKV_AWS_111:Lambda makes and removes interfaces whose names nobody knows before; the function itself may not
  # checkov:skip=CKV_AWS_356:Describe calls and X-Ray's have no resource to name (Service Authorization Reference)
  count = local.platform ? 1 : 0

  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]

    content {
      sid       = "ManageInterfaces"
      actions   = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses"]
      resources = ["${local.ec2}:*/*"]
    }
  }

  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]

    content {
      sid       = "FindInterfaces"
      actions   = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
      resources = ["*"]
    }
  }

  # Lambda needs them, the code doesn't ("Giving Lambda functions access to resources in an Amazon VPC").
  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]

    content {
      sid    = "NotForTheCode"
      effect = "Deny"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = ["arn:${data.aws_partition.current.partition}:lambda:${local.place}:function:${var.name}"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.tracing ? [1] : []

    content {
      sid       = "SendTraces"
      actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.on_failure_arn == null ? [] : [var.on_failure_arn]

    content {
      sid       = "KeepFailures"
      actions   = [split(":", statement.value)[2] == "sns" ? "sns:Publish" : "sqs:SendMessage"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "platform" {
  count = local.platform && var.role_name != null ? 1 : 0

  name   = "platform"
  role   = var.role_name
  policy = data.aws_iam_policy_document.platform[0].json
}

resource "aws_lambda_layer_version" "this" {
  count = var.layer_filename == null ? 0 : 1

  layer_name               = var.name
  filename                 = var.layer_filename
  source_code_hash         = filebase64sha256(var.layer_filename)
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_116:records of a queue have the queue's dead-letter queue; on_failure_arn is for direct invocations
  # checkov:skip=CKV_AWS_117:a function needs no network of its own to reach SQS and DynamoDB; vpc gives it one
  # checkov:skip=CKV_AWS_272:signing takes a profile of the user's: code_signing_config_arn
  # checkov:skip=CKV_AWS_173:variables hold no secrets, and are encrypted with Lambda's key; kms_key_arn takes another
  # checkov:skip=CKV_AWS_115:the mapping's maximum_concurrency bounds the function; reserved_concurrency sets more aside
  # checkov:skip=CKV_AWS_50:tracing costs by the call: tracing turns it on
  function_name                  = var.name
  description                    = "Serves the queue ${element(split(":", var.queue_arn), 5)}"
  role                           = var.role_arn
  handler                        = var.handler
  runtime                        = var.runtime
  architectures                  = [var.architecture]
  filename                       = var.package.filename
  s3_bucket                      = var.package.s3_bucket
  s3_key                         = var.package.s3_key
  s3_object_version              = var.package.s3_object_version
  source_code_hash               = local.hash
  layers                         = concat(aws_lambda_layer_version.this[*].arn, var.layer_arns)
  timeout                        = var.timeout_seconds
  memory_size                    = var.memory_mb
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1)
  kms_key_arn                    = var.kms_key_arn
  code_signing_config_arn        = var.code_signing_config_arn
  tags                           = var.tags

  environment {
    variables = var.environment
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this.name
    # The library has a line a task on this level.
    application_log_level = var.log_level
    system_log_level      = "WARN"
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  dynamic "dead_letter_config" {
    for_each = var.on_failure_arn == null ? [] : [var.on_failure_arn]

    content {
      target_arn = dead_letter_config.value
    }
  }

  # Lambda refuses a VPC, or a target of failures, that the role can't use.
  depends_on = [aws_iam_role_policy.platform]
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = var.queue_arn
  function_name                      = aws_lambda_function.this.arn
  enabled                            = var.enabled
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batching_window_seconds == 0 ? null : var.batching_window_seconds
  # Without it Lambda takes any answer for "all done", and deletes what was given back.
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }
}
