output "environment" {
  description = "Settings of programs that call tasks."
  value       = merge(var.declared.environment, module.queues.environment)
}

output "topics" {
  description = "IDs of the topics, by the application's names for its queues."
  value       = module.queues.topics
}

output "worker_members" {
  description = "Service accounts of the workers in the form that IAM policies use (`serviceAccount:...`), by name of the service."
  value       = { for name, worker in module.worker : name => worker.member }
}

output "scaling_configuration" {
  description = "Configuration of the autoscaler in YAML, for the parameter version that `scaling` names. Null without `scaling`."
  value       = one(module.scaling[*].configuration)
}
