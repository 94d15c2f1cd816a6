# Queues on Google Pub/Sub: for each a topic and its subscription, and the same for its dead letters. None of them expires.

data "google_project" "current" {
  project_id = var.project
}

locals {
  # Pub/Sub itself moves dead letters, as an account of its own ("Handle message failures").
  pubsub_agent = "serviceAccount:service-${data.google_project.current.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  producers    = merge(var.producers, var.workers)
  # A topic is called as its queue, in Pub/Sub's letters, after the application's prefix.
  prefixes = distinct([for queue, each in var.subscriptions : trimsuffix(each.topic, replace(replace(queue, ".", "-"), "/[^A-Za-z0-9_-]/", "_"))])
}

resource "google_pubsub_topic" "this" {
  for_each = var.subscriptions

  project      = var.project
  name         = each.value.topic
  kms_key_name = var.kms_key_name
  labels       = var.labels
}

resource "google_pubsub_topic" "dead_letter" {
  for_each = var.subscriptions

  project      = var.project
  name         = each.value.dead_letter_topic
  kms_key_name = var.kms_key_name
  labels       = var.labels
}

resource "google_pubsub_subscription" "this" {
  for_each = var.subscriptions

  project                    = var.project
  name                       = each.value.subscription
  topic                      = google_pubsub_topic.this[each.key].id
  ack_deadline_seconds       = each.value.ack_deadline_seconds
  message_retention_duration = "${each.value.message_retention_seconds}s"
  enable_message_ordering    = each.value.ordered
  labels                     = var.labels

  # Never: an idle subscription would go after 31 days, and its messages with it.
  expiration_policy {
    ttl = ""
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letter[each.key].id
    max_delivery_attempts = each.value.max_delivery_attempts
  }
}

resource "google_pubsub_subscription" "dead_letter" {
  for_each = var.subscriptions

  project                    = var.project
  name                       = each.value.dead_letter_subscription
  topic                      = google_pubsub_topic.dead_letter[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "${var.dead_letter_retention_seconds}s"
  labels                     = var.labels

  expiration_policy {
    ttl = ""
  }
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
  for_each = { for pair in setproduct(keys(var.subscriptions), keys(local.producers)) : "${pair[0]} ${pair[1]}" => { queue = pair[0], member = local.producers[pair[1]] } }

  project = var.project
  topic   = google_pubsub_topic.this[each.value.queue].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

# A worker dead-letters what can't be run itself, with the reason.
resource "google_pubsub_topic_iam_member" "workers_dead_letters" {
  for_each = { for pair in setproduct(keys(var.subscriptions), keys(var.workers)) : "${pair[0]} ${pair[1]}" => { queue = pair[0], member = var.workers[pair[1]] } }

  project = var.project
  topic   = google_pubsub_topic.dead_letter[each.value.queue].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

resource "google_pubsub_subscription_iam_member" "workers" {
  for_each = { for pair in setproduct(keys(var.subscriptions), keys(var.workers)) : "${pair[0]} ${pair[1]}" => { queue = pair[0], member = var.workers[pair[1]] } }

  project      = var.project
  subscription = google_pubsub_subscription.this[each.value.queue].name
  role         = "roles/pubsub.subscriber"
  member       = each.value.member
}

# A worker looks whether its subscription loses dead letters or expires; receiving doesn't include looking.
resource "google_pubsub_subscription_iam_member" "workers_look" {
  for_each = { for pair in setproduct(keys(var.subscriptions), keys(var.workers)) : "${pair[0]} ${pair[1]}" => { queue = pair[0], member = var.workers[pair[1]] } }

  project      = var.project
  subscription = google_pubsub_subscription.this[each.value.queue].name
  role         = "roles/pubsub.viewer"
  member       = each.value.member
}
