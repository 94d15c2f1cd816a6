# The alias through which the queue's messages reach a version of the function, with a part of them shifted to another
# version, and the instances that are kept ready for it. Only published versions have snapshots, so SnapStart needs one, too.

locals {
  has_alias      = var.alias != null || var.snap_start
  deployed_alias = try(var.alias.code_deploy, false)
  aliases        = concat(aws_lambda_alias.this, aws_lambda_alias.code_deploy)
  alias_name     = one(local.aliases[*].name)
  alias_arn      = one(local.aliases[*].arn)
  receiver_arn   = local.has_alias ? local.alias_arn : aws_lambda_function.this.arn
}

resource "aws_lambda_alias" "this" {
  count = local.has_alias && !local.deployed_alias ? 1 : 0

  name             = try(var.alias.name, "live")
  description      = "Version that serves the queue"
  function_name    = aws_lambda_function.this.function_name
  function_version = coalesce(try(var.alias.function_version, null), aws_lambda_function.this.version)

  dynamic "routing_config" {
    for_each = [for weights in [try(var.alias.weights, {})] : weights if length(weights) > 0]

    content {
      additional_version_weights = routing_config.value
    }
  }
}

# CodeDeploy moves this alias from version to version: Terraform only makes it.
resource "aws_lambda_alias" "code_deploy" {
  count = local.deployed_alias ? 1 : 0

  name             = var.alias.name
  description      = "Version that serves the queue"
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version

  lifecycle {
    ignore_changes = [function_version, routing_config]
  }
}

resource "aws_lambda_provisioned_concurrency_config" "this" {
  count = var.provisioned_concurrency == null ? 0 : 1

  function_name                     = aws_lambda_function.this.function_name
  qualifier                         = local.alias_name
  provisioned_concurrent_executions = var.provisioned_concurrency
}
