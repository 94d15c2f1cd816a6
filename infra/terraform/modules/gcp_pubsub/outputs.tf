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
