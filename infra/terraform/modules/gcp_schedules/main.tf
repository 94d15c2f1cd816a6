# Cloud Scheduler jobs that publish the messages of periodic tasks to the topics of their queues. Cloud Scheduler publishes
# under an account of its own, which gets the permission when the API is enabled.

resource "google_cloud_scheduler_job" "this" {
  for_each = var.jobs

  project     = var.project
  region      = each.value.location
  name        = each.key
  description = each.value.description
  schedule    = each.value.schedule
  time_zone   = each.value.timezone
  paused      = !each.value.enabled

  pubsub_target {
    topic_name = var.topics[each.value.queue]
    data       = base64encode(each.value.message)
    attributes = each.value.attributes
  }

  retry_config {
    retry_count = each.value.retries
  }
}
