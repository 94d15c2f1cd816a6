# Everything an application has declared: `taskq topology` writes this module's variables, but for those of deployment.tf.

locals {
  # Buckets of other clouds are for the modules azure_results and Google's own.
  buckets = { for name, bucket in var.buckets : name => bucket if bucket.provider == "aws" }
  tags    = merge({ taskq = var.name }, var.tags)
}

data "aws_region" "current" {}

module "queue" {
  source   = "../queue"
  for_each = var.queues

  name                          = each.value.name
  dead_letter_queue_name        = each.value.dead_letter_queue_name
  visibility_timeout_seconds    = each.value.visibility_timeout_seconds
  function_timeout_seconds      = try(var.functions[each.key].timeout_seconds, null)
  message_retention_seconds     = each.value.message_retention_seconds
  dead_letter_retention_seconds = each.value.dead_letter_retention_seconds
  max_receive_count             = each.value.max_receive_count
  receive_wait_time_seconds     = each.value.receive_wait_time_seconds
  kms_key_arn                   = var.kms_key_arn
  tls_only                      = !var.local_stack
  redrive_allow_policy          = !var.local_stack
  tags                          = local.tags
}

module "table" {
  source   = "../results_dynamodb"
  for_each = var.tables

  name                   = each.value.name
  region                 = each.value.region
  hash_key               = each.value.hash_key
  ttl_attribute          = each.value.ttl_attribute
  kms_key_arn            = var.kms_key_arn
  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection
  tls_only               = !var.local_stack
  tags                   = local.tags
}

module "bucket" {
  source   = "../results_s3"
  for_each = local.buckets

  name            = each.value.name
  region          = each.value.region
  lifecycle_rules = each.value.lifecycle_rules
  kms_key_arn     = var.kms_key_arn
  force_destroy   = !var.deletion_protection
  tls_only        = !var.local_stack
  tags            = local.tags
}

module "role" {
  source   = "../iam_role"
  for_each = var.roles

  name                     = each.key
  assumed_by               = each.value.assumed_by
  statements               = each.value.statements
  region                   = var.region
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = local.tags
}

module "function" {
  source   = "../lambda_worker"
  for_each = var.functions

  name                             = each.value.name
  role_arn                         = module.role[each.value.role].arn
  role_name                        = module.role[each.value.role].name
  queue_arn                        = module.queue[each.value.queue].arn
  queue_visibility_timeout_seconds = var.queues[each.value.queue].visibility_timeout_seconds
  package                          = coalesce(try(var.packages[each.key], null), var.package)
  layer_filename                   = var.layer_filename
  layer_arns                       = var.layer_arns
  runtime                          = var.runtime
  architecture                     = var.architecture
  timeout_seconds                  = each.value.timeout_seconds
  memory_mb                        = each.value.memory_mb
  batch_size                       = each.value.batch_size
  batching_window_seconds          = each.value.batching_window_seconds
  maximum_concurrency              = each.value.maximum_concurrency
  reserved_concurrency             = each.value.reserved_concurrency
  environment                      = each.value.environment
  vpc                              = var.function_vpc
  tracing                          = var.tracing
  log_retention_days               = var.log_retention_days
  tags                             = local.tags
}

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65:Container Insights cost by the metric, and scaling here needs none of them
  count = length(var.services) > 0 && var.cluster == null ? 1 : 0

  name = var.name
  tags = local.tags
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  count = length(aws_ecs_cluster.this)

  cluster_name       = aws_ecs_cluster.this[0].name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

module "service" {
  source   = "../container_worker"
  for_each = var.services

  name                     = each.value.name
  cluster_arn              = var.cluster == null ? aws_ecs_cluster.this[0].arn : var.cluster.arn
  cluster_name             = var.cluster == null ? aws_ecs_cluster.this[0].name : var.cluster.name
  image                    = var.image
  ecr_repository_arn       = var.ecr_repository_arn
  command                  = each.value.command
  task_role_arn            = module.role[each.value.role].arn
  task_role_name           = module.role[each.value.role].name
  environment              = each.value.environment
  secrets                  = var.secrets
  secrets_kms_key_arns     = var.secrets_kms_key_arns
  queue_names              = [for queue in each.value.queues : module.queue[queue].name]
  cpu_units                = each.value.cpu_units
  memory_mb                = each.value.memory_mb
  architecture             = var.architecture
  spot                     = var.spot
  minimum_tasks            = each.value.minimum_tasks
  maximum_tasks            = each.value.maximum_tasks
  backlog_per_task         = each.value.backlog_per_task
  stop_timeout_seconds     = each.value.stop_timeout_seconds
  subnet_ids               = try(var.network.subnet_ids, [])
  security_group_ids       = try(var.network.security_group_ids, [])
  assign_public_ip         = try(var.network.assign_public_ip, false)
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = local.tags

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

module "schedules" {
  source = "../schedules"
  count  = var.schedule_group == null ? 0 : 1

  group_name                    = var.schedule_group.name
  role_name                     = var.schedule_group.role_name
  role_path                     = var.schedule_group.role_path
  dead_letter_queue_name        = var.schedule_group.dead_letter_queue_name
  dead_letter_retention_seconds = var.schedule_group.dead_letter_retention_seconds
  queues                        = { for key, queue in module.queue : key => { name = var.queues[key].name, arn = queue.arn } }
  schedules                     = var.schedules
  kms_key_arn                   = var.kms_key_arn
  permissions_boundary_arn      = var.permissions_boundary_arn
  tls_only                      = !var.local_stack
  tags                          = local.tags
}

module "observability" {
  source = "../observability"
  count  = var.observability == null ? 0 : 1

  name                            = var.name
  queues                          = { for key, queue in var.queues : key => { name = queue.name, dead_letter_queue_name = queue.dead_letter_queue_name, oldest_message_seconds = try(var.observability.oldest_message_seconds[key], 900) } }
  function_names                  = values(var.functions)[*].name
  table_names                     = values(var.tables)[*].name
  schedule_dead_letter_queue_name = try(var.schedule_group.dead_letter_queue_name, null)
  alarm_topic_arns                = var.observability.alarm_topic_arns
  dashboard                       = var.observability.dashboard
  tags                            = local.tags
}

check "region" {
  assert {
    condition     = var.region == null || var.region == data.aws_region.current.id
    error_message = "The application's broker is in ${coalesce(var.region, "?")}, and this provider in ${data.aws_region.current.id}: the queues would be where the application doesn't look."
  }
}
