# An application's whole declaration on AWS: its queues and its containers. The other files make the rest: functions.tf
# functions, storage.tf tables and buckets, iam.tf roles, schedules.tf periodic tasks, observability.tf alarms, and
# deletion.tf the protection of queues.

locals {
  tags = merge({ taskq = var.declared.name }, var.tags)
}

data "aws_region" "current" {}

check "region" {
  assert {
    condition     = var.declared.region == null || var.declared.region == data.aws_region.current.id
    error_message = "The application's broker is in ${coalesce(var.declared.region, "?")}, and this provider would make the queues in ${data.aws_region.current.id}, where the application doesn't look for them. Set the provider's region to the broker's."
  }
}

module "queue" {
  source   = "../queue"
  for_each = var.declared.queues

  name                          = each.value.name
  dead_letter_queue_name        = each.value.dead_letter_queue_name
  visibility_timeout_seconds    = each.value.visibility_timeout_seconds
  function_timeout_seconds      = try(var.declared.functions[each.key].timeout_seconds, null)
  message_retention_seconds     = each.value.message_retention_seconds
  dead_letter_retention_seconds = each.value.dead_letter_retention_seconds
  max_receive_count             = each.value.max_receive_count
  receive_wait_time_seconds     = each.value.receive_wait_time_seconds
  kms_key_arn                   = var.declared.kms_key_arn
  senders                       = lookup(var.senders, each.key, {})
  deletion_protection           = local.protected[each.key]
  tls_only                      = !var.local_stack
  redrive_allow_policy          = !var.local_stack
  tags                          = local.tags
}

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65:Container Insights charges for each metric, and scaling here needs none of them
  count = length(var.declared.services) > 0 && var.cluster == null ? 1 : 0

  name = var.declared.name
  tags = local.tags
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  count = length(aws_ecs_cluster.this)

  cluster_name       = aws_ecs_cluster.this[0].name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

module "service" {
  source   = "../container_worker"
  for_each = var.declared.services

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
  queue_names              = [for queue in each.value.queues : module.queue[queue].name if contains(keys(var.declared.queues), queue)]
  cpu_units                = each.value.cpu_units
  memory_mb                = each.value.memory_mb
  architecture             = var.architecture
  spot                     = var.spot
  minimum_tasks            = each.value.minimum_tasks
  maximum_tasks            = each.value.maximum_tasks
  backlog_per_task         = each.value.backlog_per_task
  stop_timeout_seconds     = each.value.stop_timeout_seconds
  subnet_ids               = try(var.network.subnet_ids, [])
  security_group_ids       = concat(try(var.network.security_group_ids, []), local.server_client_groups)
  assign_public_ip         = try(var.network.assign_public_ip, false)
  log_kms_key_arn          = var.declared.kms_key_arn
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = local.tags

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}
