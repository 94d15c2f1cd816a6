# The service account that the worker's code runs with.

resource "google_service_account" "this" {
  project      = var.project
  account_id   = var.service_account_id
  display_name = "Runs the tasks of ${var.name}"
}
