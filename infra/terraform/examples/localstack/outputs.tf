output "environment" {
  description = "The settings of whoever calls tasks."
  value       = module.taskq.environment
}

output "event_source_mapping_ids" {
  description = "By the queue that each feeds a function from."
  value       = module.taskq.event_source_mapping_ids
}
