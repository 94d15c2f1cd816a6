output "environment" {
  description = "The settings of whoever calls tasks."
  value       = merge(local.declared.environment, module.queues.environment)
}
