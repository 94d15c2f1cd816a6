output "name" {
  description = "The worker pool's name."
  value       = google_cloud_run_v2_worker_pool.this.name
}

output "member" {
  description = "Its service account, as IAM members are written: for gcp_pubsub's workers."
  value       = "serviceAccount:${google_service_account.this.email}"
}
