# The Lambda functions, with the layer that they share.

locals {
  # Options of a single function replace those of every function, and an option that is left out keeps them.
  function_options = {
    for key in keys(var.declared.functions) : key => merge(var.function, { for name, value in try(var.functions[key], {}) : name => value if value != null })
  }
  function_vpcs = { for key, options in local.function_options : key => options.vpc == null ? var.function_vpc : options.vpc }
}

resource "aws_lambda_layer_version" "this" {
  count = var.layer_filename == null || length(var.declared.functions) == 0 ? 0 : 1

  layer_name               = var.declared.name
  description              = "Requirements of the functions of ${var.declared.name}"
  filename                 = var.layer_filename
  source_code_hash         = filebase64sha256(var.layer_filename)
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
}

module "function" {
  source   = "../lambda_worker"
  for_each = var.declared.functions

  name                             = each.value.name
  role_arn                         = module.role[each.value.role].arn
  role_name                        = module.role[each.value.role].name
  queue_arn                        = module.queue[each.value.queue].arn
  queue_visibility_timeout_seconds = var.declared.queues[each.value.queue].visibility_timeout_seconds
  package                          = coalesce(try(var.packages[each.key], null), var.package)
  layer_arns                       = concat(aws_lambda_layer_version.this[*].arn, var.layer_arns)
  image_config                     = local.function_options[each.key].image_config
  runtime                          = var.runtime
  architecture                     = var.architecture
  timeout_seconds                  = each.value.timeout_seconds
  memory_mb                        = each.value.memory_mb
  batch_size                       = each.value.batch_size
  batching_window_seconds          = each.value.batching_window_seconds
  maximum_concurrency              = coalesce(each.value.maximum_concurrency, 20)
  provisioned_pollers              = each.value.provisioned_pollers
  reserved_concurrency             = each.value.reserved_concurrency
  recursive_loop                   = each.value.recursive_loop
  environment                      = each.value.environment
  secrets                          = var.secrets
  secrets_kms_key_arns             = var.secrets_kms_key_arns
  alias                            = local.function_options[each.key].alias
  provisioned_concurrency          = local.function_options[each.key].provisioned_concurrency
  snap_start                       = local.function_options[each.key].snap_start
  ephemeral_storage_mb             = local.function_options[each.key].ephemeral_storage_mb
  enabled                          = local.function_options[each.key].enabled
  vpc                              = local.function_vpcs[each.key] == null ? null : merge(local.function_vpcs[each.key], { security_group_ids = concat(local.function_vpcs[each.key].security_group_ids, local.server_client_groups) })
  code_signing_config_arn          = local.function_options[each.key].code_signing_config_arn
  on_failure_arn                   = local.function_options[each.key].on_failure_arn
  asynchronous                     = local.function_options[each.key].asynchronous
  tracing                          = var.tracing
  kms_key_arn                      = try(coalesce(local.function_options[each.key].kms_key_arn, var.declared.kms_key_arn), null)
  log_level                        = local.function_options[each.key].log_level
  log_kms_key_arn                  = try(coalesce(local.function_options[each.key].log_kms_key_arn, var.declared.kms_key_arn), null)
  log_retention_days               = coalesce(local.function_options[each.key].log_retention_days, var.log_retention_days)
  tags                             = merge(local.tags, local.function_options[each.key].tags)
}
