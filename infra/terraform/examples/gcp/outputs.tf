output "environment" {
  description = "Settings of programs that call tasks."
  value       = module.taskq.environment
}

output "scaling_configuration" {
  description = "Configuration of the autoscaler in YAML. Null without `scaling`."
  value       = module.taskq.scaling_configuration
}
