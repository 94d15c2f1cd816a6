# Long delays: a Cloud Tasks queue holds messages that are due later, and publishes them under a service account of its own.

locals {
  # Every account that sends tasks may delay them.
  delay_members = var.delays == null ? {} : local.producers
}

resource "google_cloud_tasks_queue" "this" {
  count = var.delays == null ? 0 : 1

  project  = var.project
  name     = var.delays.queue
  location = var.delays.location
}

resource "google_service_account" "delays" {
  count = var.delays == null ? 0 : 1

  project      = var.project
  account_id   = var.delays.service_account_id
  display_name = "Publishes delayed messages"
}

resource "google_pubsub_topic_iam_member" "delays" {
  for_each = var.delays == null ? {} : var.subscriptions

  project = var.project
  topic   = google_pubsub_topic.this[each.key].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${google_service_account.delays[0].email}"
}

resource "google_cloud_tasks_queue_iam_member" "delays" {
  for_each = local.delay_members

  project  = var.project
  location = var.delays.location
  name     = google_cloud_tasks_queue.this[0].name
  role     = "roles/cloudtasks.enqueuer"
  member   = each.value
}

# An account that names a service account in a Cloud Tasks task needs permission to act as it ("Create HTTP target tasks").
resource "google_service_account_iam_member" "delays" {
  for_each = local.delay_members

  service_account_id = google_service_account.delays[0].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}
