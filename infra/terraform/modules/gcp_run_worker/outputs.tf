output "name" {
  description = "Name of the worker pool."
  value       = google_cloud_run_v2_worker_pool.this.name
}

output "member" {
  description = "Service account of the workers in the form that IAM policies use (`serviceAccount:...`), for the variable `workers` of `gcp_pubsub`."
  value       = "serviceAccount:${google_service_account.this.email}"
}
