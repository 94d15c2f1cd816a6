# Queues on Google Pub/Sub: a topic and a subscription for each queue, and both again for its dead letters.

locals {
  # A topic's name is the application's prefix followed by the name of the queue, in the characters that Pub/Sub allows.
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

  # An empty TTL means never. By default, an idle subscription expires after 31 days, and its messages with it.
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
