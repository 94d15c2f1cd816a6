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
    condition     = { for each in google_cloud_run_v2_worker_pool.this[0].template[0].containers[0].env : each.name => each.value }.TASKQ_WORKER_SHUTDOWN_TIMEOUT == "8"
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

run "worker_may_read_its_secrets_and_no_others" {
  command = apply

  variables {
    secrets = { SHOP_TOKEN = "shop-token", SHOP_OLD_TOKEN = "shop-token", SHOP_KEY = "shop-key" }
  }

  assert {
    condition = { for name, each in google_secret_manager_secret_iam_member.this : name => each.member } == {
      shop-token = "serviceAccount:shop-worker@shop-prod.iam.gserviceaccount.com"
      shop-key   = "serviceAccount:shop-worker@shop-prod.iam.gserviceaccount.com"
    }
    error_message = "the worker may not read a secret, or Terraform gives the permission twice"
  }
}

run "scaled_worker_pool_keeps_the_number_of_its_autoscaler" {
  command = apply

  variables {
    scaled    = true
    instances = 0
  }

  assert {
    condition     = length(google_cloud_run_v2_worker_pool.this) == 0 && google_cloud_run_v2_worker_pool.scaled[0].scaling[0].manual_instance_count == 0
    error_message = "Terraform would undo what the autoscaler does"
  }
}

run "later_apply_leaves_the_number_alone" {
  command = apply

  variables {
    scaled    = true
    instances = 3
  }

  assert {
    condition     = google_cloud_run_v2_worker_pool.scaled[0].scaling[0].manual_instance_count == 0
    error_message = "Terraform undoes what the autoscaler does"
  }
}
