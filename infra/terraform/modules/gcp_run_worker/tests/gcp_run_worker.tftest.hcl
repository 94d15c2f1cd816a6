mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "shop-worker@shop-prod.iam.gserviceaccount.com" }
  }
}

variables {
  project            = "shop-prod"
  region             = "europe-west1"
  name               = "shop-worker"
  service_account_id = "shop-worker"
  image              = "shop:1"
  command            = ["taskq", "worker", "-A", "shop:app"]
  environment        = { TASKQ_BROKER = "pubsub://shop-prod/shop-" }
}

run "worker_pool_stops_in_time_and_names_its_account" {
  command = apply

  assert {
    condition     = { for each in google_cloud_run_v2_worker_pool.this.template[0].containers[0].env : each.name => each.value }.TASKQ_WORKER_SHUTDOWN_TIMEOUT == "8"
    error_message = "the worker does not end before Cloud Run kills it"
  }
  assert {
    condition     = output.member == "serviceAccount:shop-worker@shop-prod.iam.gserviceaccount.com"
    error_message = "the output is not the service account"
  }
}

run "environment_without_a_broker_is_refused" {
  command = plan

  variables {
    environment = {}
  }

  expect_failures = [var.environment]
}
