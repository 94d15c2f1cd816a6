# A Lambda function that serves one SQS queue: the function, its layer and its event source mapping. The other files hold
# its alias, its logs, its permissions and what becomes of asynchronous invocations.

locals {
  # The code is an archive that `taskq package` made, in a local file or in S3, or a container image.
  from_file  = var.package.filename != null
  from_image = var.package.image_uri != null
  hash       = local.from_file ? filebase64sha256(var.package.filename) : var.package.sha256_base64
}

resource "aws_lambda_layer_version" "this" {
  count = var.layer_filename == null ? 0 : 1

  layer_name               = var.name
  description              = "Requirements of ${var.name}"
  filename                 = var.layer_filename
  source_code_hash         = filebase64sha256(var.layer_filename)
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_116:messages of the queue go to the queue's dead-letter queue; on_failure_arn is for direct invocations
  # checkov:skip=CKV_AWS_117:a function reaches SQS and DynamoDB without a VPC; the variable vpc puts it into one
  # checkov:skip=CKV_AWS_272:code signing needs a signing profile of the user: code_signing_config_arn
  # checkov:skip=CKV_AWS_173:the variables hold references to secrets only, and Lambda encrypts them with its own key; kms_key_arn takes a key of the user
  # checkov:skip=CKV_AWS_115:the mapping's maximum_concurrency limits the function; reserved_concurrency reserves a part of the account's
  # checkov:skip=CKV_AWS_50:X-Ray charges for each trace; the variable tracing turns it on
  function_name                  = var.name
  description                    = "Serves the queue ${element(split(":", var.queue_arn), 5)}"
  role                           = var.role_arn
  package_type                   = local.from_image ? "Image" : "Zip"
  image_uri                      = var.package.image_uri
  handler                        = local.from_image ? null : var.handler
  runtime                        = local.from_image ? null : var.runtime
  architectures                  = [var.architecture]
  filename                       = var.package.filename
  s3_bucket                      = var.package.s3_bucket
  s3_key                         = var.package.s3_key
  s3_object_version              = var.package.s3_object_version
  source_code_hash               = local.hash
  layers                         = local.from_image ? null : concat(aws_lambda_layer_version.this[*].arn, var.layer_arns)
  timeout                        = var.timeout_seconds
  memory_size                    = var.memory_mb
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1)
  kms_key_arn                    = var.kms_key_arn
  code_signing_config_arn        = var.code_signing_config_arn
  publish                        = local.has_alias
  tags                           = var.tags

  dynamic "image_config" {
    for_each = local.from_image ? [var.image_config] : []

    content {
      command           = coalesce(image_config.value.command, [var.handler])
      entry_point       = image_config.value.entry_point
      working_directory = image_config.value.working_directory
    }
  }

  ephemeral_storage {
    size = var.ephemeral_storage_mb
  }

  environment {
    # The function reads its secrets itself, when it starts: their values are in no plan and in no state.
    variables = merge(var.environment, length(var.secrets) == 0 ? {} : { TASKQ_SECRETS = jsonencode(var.secrets) })
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this.name
    # At the level INFO, the library writes one line for each task.
    application_log_level = var.log_level
    system_log_level      = "WARN"
  }

  dynamic "snap_start" {
    for_each = var.snap_start ? [1] : []

    content {
      apply_on = "PublishedVersions"
    }
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

  # Lambda refuses a VPC or a failure target that the role has no permissions for.
  depends_on = [aws_iam_role_policy.platform]
}

# By default, Lambda stops a chain of messages after it has passed a queue and a function about 16 times, as a workflow
# of 17 tasks does ("Use Lambda recursive loop detection to prevent infinite loops").
resource "aws_lambda_function_recursion_config" "this" {
  function_name  = aws_lambda_function.this.function_name
  recursive_loop = var.recursive_loop
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = var.queue_arn
  function_name                      = local.receiver_arn
  enabled                            = var.enabled
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batching_window_seconds == 0 ? null : var.batching_window_seconds
  # Without this response type, Lambda takes any answer as success for the whole batch, and deletes messages that failed.
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  # Lambda takes either a maximum concurrency or provisioned pollers.
  dynamic "scaling_config" {
    for_each = var.provisioned_pollers == null ? [var.maximum_concurrency] : []

    content {
      maximum_concurrency = scaling_config.value
    }
  }

  dynamic "provisioned_poller_config" {
    for_each = var.provisioned_pollers == null ? [] : [var.provisioned_pollers]

    content {
      minimum_pollers = provisioned_poller_config.value.minimum
      maximum_pollers = provisioned_poller_config.value.maximum
    }
  }

  depends_on = [aws_lambda_function_recursion_config.this]
}
