# Alarms and a dashboard.

module "observability" {
  source = "../observability"
  count  = var.observability == null ? 0 : 1

  name = var.declared.name
  queues = {
    for key, queue in var.declared.queues : key => {
      name                   = queue.name
      dead_letter_queue_name = queue.dead_letter_queue_name
      oldest_message_seconds = try(var.observability.oldest_message_seconds[key], 900)
    }
  }
  log_group_names = merge(
    { for key, function in var.declared.functions : function.name => module.function[key].log_group_name },
    { for key, service in var.declared.services : service.name => module.service[key].log_group_name },
  )
  failed_tasks_allowed            = var.observability.failed_tasks_allowed
  function_names                  = values(var.declared.functions)[*].name
  table_names                     = values(var.declared.tables)[*].name
  schedule_dead_letter_queue_name = try(var.declared.schedule_group.dead_letter_queue_name, null)
  emails                          = var.observability.emails
  alarm_topic_arns                = var.observability.alarm_topic_arns
  dashboard                       = var.observability.dashboard
  tags                            = local.tags
}
