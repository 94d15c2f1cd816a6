# Schedules of periodic tasks.

module "schedules" {
  source = "../schedules"
  count  = var.declared.schedule_group == null ? 0 : 1

  group_name                    = var.declared.schedule_group.name
  role_name                     = var.declared.schedule_group.role_name
  role_path                     = var.declared.schedule_group.role_path
  dead_letter_queue_name        = var.declared.schedule_group.dead_letter_queue_name
  dead_letter_retention_seconds = var.declared.schedule_group.dead_letter_retention_seconds
  queues                        = { for key, queue in module.queue : key => { name = var.declared.queues[key].name, arn = queue.arn } }
  schedules                     = var.declared.schedules
  kms_key_arn                   = var.declared.kms_key_arn
  schedules_kms_key_arn         = var.declared.schedule_group.kms_key_arn
  permissions_boundary_arn      = var.permissions_boundary_arn
  deletion_protection           = var.deletion_protection
  tls_only                      = !var.local_stack
  tags                          = local.tags
}
