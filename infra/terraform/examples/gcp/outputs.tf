output "environment" {
  description = "Settings of programs that call tasks."
  value       = module.taskq.environment
}
