output "environment" {
  description = "Settings of programs that call tasks."
  value       = module.taskq.environment
}

output "producer_policy_arns" {
  description = "ARNs of the policies to attach to the roles of programs that call tasks, by name of the policy."
  value       = module.taskq.producer_policy_arns
}
