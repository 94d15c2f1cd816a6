mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "42" }
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

run "queue" {
  command = apply

  assert {
    condition     = google_pubsub_subscription.this["orders"].expiration_policy[0].ttl == "" && google_pubsub_subscription.dead_letter["orders"].expiration_policy[0].ttl == ""
    error_message = "a subscription nobody uses stays, with its messages"
  }
  assert {
    condition     = google_pubsub_subscription.this["orders"].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letter["orders"].id
    error_message = "dead letters go to their own topic"
  }
  assert {
    condition     = google_pubsub_topic_iam_member.dead_letters["orders"].member == "serviceAccount:service-42@gcp-sa-pubsub.iam.gserviceaccount.com"
    error_message = "Pub/Sub may move dead letters: without it the policy does nothing, in silence"
  }
  assert {
    condition     = length(google_pubsub_subscription_iam_member.workers) == 1 && length(google_pubsub_topic_iam_member.producers) == 1
    error_message = "workers receive and send"
  }
}

run "deadline_that_pubsub_does_not_have_and_a_name_of_two" {
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
