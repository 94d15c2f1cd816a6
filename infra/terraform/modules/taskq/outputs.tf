output "environment" {
  description = "Settings of programs that call tasks."
  value       = var.declared.environment
}

output "producer_policy_arns" {
  description = "ARNs of the policies to attach to the roles of programs that call tasks, by name of the policy."
  value       = { for name, role in module.role : name => role.policy_arn if role.policy_arn != null }
}

output "queue_urls" {
  description = "URLs of the queues, by the application's names for them."
  value       = { for key, queue in module.queue : key => queue.url }
}

output "queue_arns" {
  description = "ARNs of the queues, by the application's names for them."
  value       = { for key, queue in module.queue : key => queue.arn }
}

output "function_names" {
  description = "Names of the functions, by the queue that each function serves."
  value       = { for key, function in module.function : key => function.function_name }
}

output "function_versions" {
  description = "Versions that were published last, by the queue that each function serves: `$LATEST` for a function without an alias."
  value       = { for key, function in module.function : key => function.function_version }
}

output "function_aliases" {
  description = "ARNs of the aliases, by the queue that each function serves."
  value       = { for key, function in module.function : key => function.alias_arn if function.alias_arn != null }
}

output "event_source_mapping_ids" {
  description = "UUIDs of the event source mappings, by the queue that each mapping reads."
  value       = { for key, function in module.function : key => function.event_source_mapping_id }
}

output "schedule_role_arn" {
  description = "ARN of the role with which EventBridge Scheduler sends messages. Null if there are no schedules."
  value       = one(module.schedules[*].role_arn)
}

output "server_client_security_group_id" {
  description = "Id of the security group that may reach the servers, for programs that call tasks. Null if `server_access` is null."
  value       = one(module.server_access[*].security_group_id)
}

output "alarm_names" {
  description = "Names of all alarms."
  value       = flatten(module.observability[*].alarm_names)
}

output "alarm_topic_arn" {
  description = "ARN of the topic that notifies the e-mail addresses. Null if there are none."
  value       = one(module.observability[*].topic_arn)
}
