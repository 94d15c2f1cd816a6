mock_provider "google" {}

variables {
  project = "shop-prod"
  topics  = { orders = "projects/shop-prod/topics/shop-orders" }
  jobs = {
    beat__shop__nightly__0 = {
      location = "europe-west1"
      schedule = "0 3 * * *"
      timezone = "Europe/Paris"
      queue    = "orders"
      message  = "{\"headers\": {\"task\": \"shop.nightly\", \"taskq_scheduled_time\": \"<sent>\"}}"
    }
    beat__shop__digest__0 = {
      location    = "europe-west1"
      schedule    = "*/15 * * * *"
      queue       = "orders"
      message     = "{}"
      attributes  = { tenant = "a" }
      retries     = 0
      enabled     = false
      description = "[terraform, disabled] periodic task digest"
    }
  }
}

run "jobs_of_two_entries_are_made_as_given" {
  command = apply

  assert {
    condition     = strcontains(base64decode(google_cloud_scheduler_job.this["beat__shop__nightly__0"].pubsub_target[0].data), "\"<sent>\"")
    error_message = "the message is changed"
  }
  assert {
    condition     = google_cloud_scheduler_job.this["beat__shop__nightly__0"].pubsub_target[0].topic_name == "projects/shop-prod/topics/shop-orders"
    error_message = "the job does not publish to the topic of its queue"
  }
  assert {
    condition     = google_cloud_scheduler_job.this["beat__shop__nightly__0"].time_zone == "Europe/Paris" && google_cloud_scheduler_job.this["beat__shop__nightly__0"].retry_config[0].retry_count == 3
    error_message = "the time zone is not the entry's, or the job does not retry 3 times by default"
  }
  assert {
    condition     = google_cloud_scheduler_job.this["beat__shop__digest__0"].paused && !google_cloud_scheduler_job.this["beat__shop__nightly__0"].paused
    error_message = "the job of the disabled entry is not paused, or the other one is"
  }
}

run "unknown_queue_is_refused" {
  command = plan

  variables {
    jobs = { nightly = { location = "europe-west1", schedule = "0 3 * * *", queue = "order", message = "{}" } }
  }

  expect_failures = [var.jobs]
}

run "eventbridge_expression_is_refused" {
  command = plan

  variables {
    jobs = { nightly = { location = "europe-west1", schedule = "cron(0 3 * * ? *)", queue = "orders", message = "{}" } }
  }

  expect_failures = [var.jobs]
}

run "name_with_dots_is_refused" {
  command = plan

  variables {
    jobs = { "beat.shop" = { location = "europe-west1", schedule = "0 3 * * *", queue = "orders", message = "{}" } }
  }

  expect_failures = [var.jobs]
}

run "more_than_five_retries_are_refused" {
  command = plan

  variables {
    jobs = { nightly = { location = "europe-west1", schedule = "0 3 * * *", queue = "orders", message = "{}", retries = 6 } }
  }

  expect_failures = [var.jobs]
}

run "short_name_of_a_topic_is_refused" {
  command = plan

  variables {
    topics = { orders = "shop-orders" }
  }

  expect_failures = [var.topics]
}
