# The account of the autoscaler: it reads its configuration and metrics, and changes the size of these worker pools only.

resource "google_service_account" "this" {
  project      = var.project
  account_id   = var.service_account_id
  display_name = "Scales the worker pools"
}

resource "google_project_iam_member" "this" {
  # Neither metrics nor parameters are resources with a policy of their own.
  for_each = toset(["roles/monitoring.viewer", "roles/parametermanager.parameterViewer"])

  project = var.project
  role    = each.value
  member  = "serviceAccount:${google_service_account.this.email}"
}

resource "google_cloud_run_v2_worker_pool_iam_member" "this" {
  for_each = var.workers

  project  = var.project
  location = each.value.region
  name     = each.value.name
  role     = "roles/run.developer"
  member   = "serviceAccount:${google_service_account.this.email}"
}

# An account that changes a worker pool needs permission to act as the account that the pool runs with.
resource "google_service_account_iam_member" "this" {
  for_each = var.workers

  service_account_id = each.value.service_account
  role               = "roles/iam.serviceAccountUser"
  member             = "serviceAccount:${google_service_account.this.email}"
}
