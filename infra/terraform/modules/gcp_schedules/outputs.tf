output "jobs" {
  description = "The jobs' ids, by their names."
  value       = { for name, job in google_cloud_scheduler_job.this : name => job.id }
}
