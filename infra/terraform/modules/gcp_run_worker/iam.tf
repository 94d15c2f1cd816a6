# The service account that the worker's code runs with, and its access to the secrets.

resource "google_service_account" "this" {
  project      = var.project
  account_id   = var.service_account_id
  display_name = "Runs the tasks of ${var.name}"
}

# Cloud Run reads the secrets under this account when it starts a container.
resource "google_secret_manager_secret_iam_member" "this" {
  for_each = toset(values(var.secrets))

  project   = var.project
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.this.email}"
}
