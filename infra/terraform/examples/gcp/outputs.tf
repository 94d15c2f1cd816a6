output "environment" {
  description = "The settings of whoever calls tasks."
  value       = local.declared.environment
}
