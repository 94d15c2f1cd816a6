output "configuration" {
  description = "Configuration of the autoscaler in YAML, for the version of the parameter that `parameter_version` names."
  value       = local.configuration
}

output "member" {
  description = "Service account of the autoscaler in the form that IAM policies use (`serviceAccount:...`)."
  value       = "serviceAccount:${google_service_account.this.email}"
}
