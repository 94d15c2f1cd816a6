output "environment" {
  description = "The settings of whoever calls tasks."
  value       = module.taskq.environment
}

output "producer_policy_arns" {
  description = "To be attached to the roles of those who call tasks."
  value       = module.taskq.producer_policy_arns
}
