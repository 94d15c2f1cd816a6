mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "shop-scaling@shop-prod.iam.gserviceaccount.com" }
  }
}

variables {
  project            = "shop-prod"
  region             = "europe-west1"
  name               = "shop-scaling"
  service_account_id = "shop-scaling"
  parameter_version  = "projects/shop-prod/locations/global/parameters/shop-scaling/versions/v1"
  workers = {
    worker = {
      name                 = "shop-worker"
      region               = "europe-west1"
      service_account      = "projects/shop-prod/serviceAccounts/shop-worker@shop-prod.iam.gserviceaccount.com"
      subscriptions        = ["shop-orders", "shop-reports"]
      minimum_instances    = 0
      maximum_instances    = 8
      backlog_per_instance = 50
    }
  }
}

run "worker_pool_is_scaled_by_each_of_its_subscriptions" {
  command = apply

  assert {
    condition     = yamldecode(output.configuration).spec.scaledObjects[0].spec.scaleTargetRef.name == "projects/shop-prod/locations/europe-west1/workerpools/shop-worker"
    error_message = "the autoscaler scales another worker pool"
  }
  assert {
    condition     = [yamldecode(output.configuration).spec.scaledObjects[0].spec.minReplicaCount, yamldecode(output.configuration).spec.scaledObjects[0].spec.maxReplicaCount] == [0, 8]
    error_message = "the worker pool has other limits than declared"
  }
  assert {
    condition     = [for each in yamldecode(output.configuration).spec.scaledObjects[0].spec.triggers : "${each.metadata.subscriptionName} ${each.metadata.value}"] == ["projects/shop-prod/subscriptions/shop-orders 50", "projects/shop-prod/subscriptions/shop-reports 50"]
    error_message = "the backlog of a subscription is not looked at, or for another number of messages than declared"
  }
  assert {
    condition     = google_cloud_run_v2_service.this.scaling[0].manual_instance_count == 1 && !google_cloud_run_v2_service.this.template[0].containers[0].resources[0].cpu_idle
    error_message = "several autoscalers work against each other, or a single one sleeps between requests"
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool_iam_member.this["worker"].name == "shop-worker" && google_service_account_iam_member.this["worker"].role == "roles/iam.serviceAccountUser"
    error_message = "the autoscaler may not change the worker pool"
  }
}

run "settings_that_scale_nothing_are_refused" {
  command = plan

  variables {
    parameter_version = "shop-scaling"
    polling_seconds   = 1
    workers           = { worker = { name = "shop-worker", region = "europe-west1", service_account = "shop", subscriptions = [], minimum_instances = 2, maximum_instances = 1, backlog_per_instance = 100 } }
  }

  expect_failures = [var.parameter_version, var.polling_seconds, var.workers]
}
