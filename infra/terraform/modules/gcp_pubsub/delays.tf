# What is due later than Pub/Sub can park it: a queue of Cloud Tasks, and the account in whose name it publishes.

variable "delays" {
  description = "A queue of Cloud Tasks for what is due in more than ten minutes, its location, and the account that is made for it; null: none."
  type = object({
    queue              = string
    location           = string
    service_account_id = string
  })
  default = null

  validation {
    condition     = var.delays == null ? true : can(regex("^[A-Za-z0-9-]{1,100}$", var.delays.queue))
    error_message = "A queue of Cloud Tasks is called by 1 to 100 letters, digits and hyphens."
  }

  validation {
    condition     = var.delays == null ? true : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.delays.service_account_id))
    error_message = "A service account's id is 6 to 30 small letters, digits and hyphens."
  }
}

locals {
  # Whoever sends tasks delays them.
  delaying = var.delays == null ? {} : local.producers
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
  display_name = "Publishes what is due later"
}

resource "google_pubsub_topic_iam_member" "delays" {
  for_each = var.delays == null ? {} : var.subscriptions

  project = var.project
  topic   = google_pubsub_topic.this[each.key].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${google_service_account.delays[0].email}"
}

resource "google_cloud_tasks_queue_iam_member" "delays" {
  for_each = local.delaying

  project  = var.project
  location = var.delays.location
  name     = google_cloud_tasks_queue.this[0].name
  role     = "roles/cloudtasks.enqueuer"
  member   = each.value
}

# To name an account in a task takes leave to act as it ("Create HTTP target tasks").
resource "google_service_account_iam_member" "delays" {
  for_each = local.delaying

  service_account_id = google_service_account.delays[0].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}
