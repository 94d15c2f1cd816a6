output "topics" {
  description = "IDs of the topics, by the application's names for its queues."
  value       = { for key, topic in google_pubsub_topic.this : key => topic.id }
}

output "subscriptions" {
  description = "IDs of the subscriptions, by the application's names for its queues."
  value       = { for key, subscription in google_pubsub_subscription.this : key => subscription.id }
}

output "dead_letter_subscriptions" {
  description = "IDs of the dead letters' subscriptions, by the application's names for its queues."
  value       = { for key, subscription in google_pubsub_subscription.dead_letter : key => subscription.id }
}

output "environment" {
  description = "Settings of the application that name its broker, and the Cloud Tasks queue for delays. The broker is left out if the topics have no common prefix, because then no URL names them."
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
