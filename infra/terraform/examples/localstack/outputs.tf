output "environment" {
  description = "Settings of programs that call tasks."
  value       = module.taskq.environment
}

output "event_source_mapping_ids" {
  description = "UUIDs of the event source mappings, by the queue that each mapping reads."
  value       = module.taskq.event_source_mapping_ids
}
