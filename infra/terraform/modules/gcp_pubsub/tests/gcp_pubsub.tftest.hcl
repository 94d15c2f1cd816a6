mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "42" }
  }
  mock_resource "google_cloud_tasks_queue" {
    defaults = { id = "projects/shop-prod/locations/europe-west1/queues/shop-later" }
  }
  mock_resource "google_service_account" {
    defaults = { email = "shop-later@shop-prod.iam.gserviceaccount.com", name = "projects/shop-prod/serviceAccounts/shop-later@shop-prod.iam.gserviceaccount.com" }
  }
}

variables {
  project = "shop-prod"
  workers = { worker = "serviceAccount:worker@shop-prod.iam.gserviceaccount.com" }
  subscriptions = {
    orders = {
      topic                     = "shop-orders"
      subscription              = "shop-orders"
      ordered                   = false
      ack_deadline_seconds      = 60
      message_retention_seconds = 604800
      max_delivery_attempts     = 10
      dead_letter_topic         = "shop-orders-dead"
      dead_letter_subscription  = "shop-orders-dead"
    }
  }
}

run "queue_by_default_never_expires_and_keeps_dead_letters" {
  command = apply

  assert {
    condition     = google_pubsub_subscription.this["orders"].expiration_policy[0].ttl == "" && google_pubsub_subscription.dead_letter["orders"].expiration_policy[0].ttl == ""
    error_message = "an idle subscription expires, and its messages with it"
  }
  assert {
    condition     = google_pubsub_subscription.this["orders"].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letter["orders"].id
    error_message = "dead letters do not go to their own topic"
  }
  assert {
    condition     = google_pubsub_topic_iam_member.dead_letters["orders"].member == "serviceAccount:service-42@gcp-sa-pubsub.iam.gserviceaccount.com"
    error_message = "Pub/Sub may not move dead letters, so the dead-letter policy would silently do nothing"
  }
  assert {
    condition     = length(google_pubsub_subscription_iam_member.workers) == 1 && length(google_pubsub_topic_iam_member.producers) == 1
    error_message = "workers may not receive and send"
  }
  assert {
    condition     = google_pubsub_subscription_iam_member.workers_view["orders worker"].role == "roles/pubsub.viewer"
    error_message = "workers may not read the settings of their subscription"
  }
  assert {
    condition     = length(google_cloud_tasks_queue.this) == 0 && output.environment == { TASKQ_BROKER = "pubsub://shop-prod/shop-" }
    error_message = "there is a queue for delays by default, or the output is not the application's setting"
  }
}

run "delays_by_cloud_tasks_are_open_to_all_senders" {
  command = apply

  variables {
    producers = { web = "serviceAccount:web@shop-prod.iam.gserviceaccount.com" }
    delays    = { queue = "shop-later", location = "europe-west1", service_account_id = "shop-later" }
  }

  assert {
    condition     = keys(google_cloud_tasks_queue_iam_member.delays) == ["web", "worker"] && keys(google_service_account_iam_member.delays) == ["web", "worker"]
    error_message = "an account that sends tasks may not delay them under the service account"
  }
  assert {
    condition     = google_pubsub_topic_iam_member.delays["orders"].member == "serviceAccount:shop-later@shop-prod.iam.gserviceaccount.com"
    error_message = "the service account may not publish"
  }
  assert {
    condition     = jsondecode(output.environment.TASKQ_BROKER_TRANSPORT_OPTIONS).cloud_tasks_queue == "projects/shop-prod/locations/europe-west1/queues/shop-later"
    error_message = "the output is not the application's setting"
  }
}

run "deadline_out_of_range_and_shared_name_are_refused" {
  command = plan

  variables {
    producers = { worker = "serviceAccount:web@shop-prod.iam.gserviceaccount.com" }
    subscriptions = {
      orders = {
        topic                     = "shop-orders"
        subscription              = "shop-orders"
        ordered                   = false
        ack_deadline_seconds      = 5
        message_retention_seconds = 604800
        max_delivery_attempts     = 10
        dead_letter_topic         = "shop-orders-dead"
        dead_letter_subscription  = "shop-orders-dead"
      }
    }
  }

  expect_failures = [var.subscriptions, var.producers]
}
