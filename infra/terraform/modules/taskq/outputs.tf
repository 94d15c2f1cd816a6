output "environment" {
  description = "The settings of whoever calls tasks."
  value       = var.environment
}

output "producer_policy_arns" {
  description = "Policies to attach to the roles of those who call tasks, by name."
  value       = { for name, role in module.role : name => role.policy_arn if role.policy_arn != null }
}

output "queue_urls" {
  description = "By the application's names."
  value       = { for key, queue in module.queue : key => queue.url }
}

output "queue_arns" {
  description = "Likewise."
  value       = { for key, queue in module.queue : key => queue.arn }
}

output "function_names" {
  description = "By the queue that each serves."
  value       = { for key, function in module.function : key => function.function_name }
}

output "event_source_mapping_ids" {
  description = "Likewise."
  value       = { for key, function in module.function : key => function.event_source_mapping_id }
}

output "schedule_role_arn" {
  description = "The role of the schedules; null where there are none."
  value       = one(module.schedules[*].role_arn)
}

output "alarm_names" {
  description = "Every alarm."
  value       = flatten(module.observability[*].alarm_names)
}
