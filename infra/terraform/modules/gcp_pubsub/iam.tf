# Access to topics and subscriptions: of Pub/Sub's own account, of the accounts that call tasks, and of the workers.

data "google_project" "current" {
  project_id = var.project
}

locals {
  # Pub/Sub moves dead letters under an account of its own ("Handle message failures").
  pubsub_agent = "serviceAccount:service-${data.google_project.current.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  # Workers call tasks as well.
  producers      = merge(var.producers, var.workers)
  producer_pairs = { for pair in setproduct(keys(var.subscriptions), keys(local.producers)) : "${pair[0]} ${pair[1]}" => { queue = pair[0], member = local.producers[pair[1]] } }
  worker_pairs   = { for pair in setproduct(keys(var.subscriptions), keys(var.workers)) : "${pair[0]} ${pair[1]}" => { queue = pair[0], member = var.workers[pair[1]] } }
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = var.subscriptions

  project = var.project
  topic   = google_pubsub_topic.dead_letter[each.key].name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = var.subscriptions

  project      = var.project
  subscription = google_pubsub_subscription.this[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_pubsub_topic_iam_member" "producers" {
  for_each = local.producer_pairs

  project = var.project
  topic   = google_pubsub_topic.this[each.value.queue].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

# A worker itself sends messages that it can't run to the dead-letter topic, with the reason.
resource "google_pubsub_topic_iam_member" "workers_dead_letters" {
  for_each = local.worker_pairs

  project = var.project
  topic   = google_pubsub_topic.dead_letter[each.value.queue].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

resource "google_pubsub_subscription_iam_member" "workers" {
  for_each = local.worker_pairs

  project      = var.project
  subscription = google_pubsub_subscription.this[each.value.queue].name
  role         = "roles/pubsub.subscriber"
  member       = each.value.member
}

# A worker reads the settings of its subscription, to warn if dead letters get lost or if the subscription expires. The role
# for receiving messages doesn't include that permission.
resource "google_pubsub_subscription_iam_member" "workers_view" {
  for_each = local.worker_pairs

  project      = var.project
  subscription = google_pubsub_subscription.this[each.value.queue].name
  role         = "roles/pubsub.viewer"
  member       = each.value.member
}
