output "topics" {
  description = "The topics' ids, by the application's names of the queues."
  value       = { for key, topic in google_pubsub_topic.this : key => topic.id }
}

output "subscriptions" {
  description = "The subscriptions' ids, likewise."
  value       = { for key, subscription in google_pubsub_subscription.this : key => subscription.id }
}

output "dead_letter_subscriptions" {
  description = "Those of the dead letters."
  value       = { for key, subscription in google_pubsub_subscription.dead_letter : key => subscription.id }
}

output "environment" {
  description = "The application's settings: where its queues are, and what delays tasks. Topics of no common prefix have no URL."
  value = merge(
    length(local.prefixes) == 1 ? { TASKQ_BROKER = "pubsub://${var.project}/${local.prefixes[0]}" } : {},
    var.delays == null ? {} : {
      TASKQ_BROKER_TRANSPORT_OPTIONS = jsonencode({
        cloud_tasks_queue           = google_cloud_tasks_queue.this[0].id
        cloud_tasks_service_account = google_service_account.delays[0].email
      })
    },
  )
}
