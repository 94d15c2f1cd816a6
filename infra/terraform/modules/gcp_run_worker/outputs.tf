output "name" {
  description = "Name of the worker pool."
  value       = local.pool.name
}

output "member" {
  description = "Service account of the workers in the form that IAM policies use (`serviceAccount:...`), for the variable `workers` of `gcp_pubsub`."
  value       = "serviceAccount:${google_service_account.this.email}"
}

output "service_account_name" {
  description = "Full name of the workers' service account: `projects/<project>/serviceAccounts/<email>`."
  value       = google_service_account.this.name
}
