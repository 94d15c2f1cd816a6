# Scaling of worker pools by the backlog of their subscriptions: Google's external metrics autoscaler (CREMA), which is KEDA
# without Kubernetes. A worker pool itself can only be scaled by its CPU, and then never to none.

locals {
  # KEDA reads the number of messages, waiting and leased, from Cloud Monitoring. Of several subscriptions, the one that needs
  # most instances decides.
  scaled_objects = [
    for name, worker in var.workers : {
      spec = {
        scaleTargetRef  = { name = "projects/${var.project}/locations/${worker.region}/workerpools/${worker.name}" }
        minReplicaCount = worker.minimum_instances
        maxReplicaCount = worker.maximum_instances
        triggers = [
          for subscription in worker.subscriptions : {
            type = "gcp-pubsub"
            name = subscription
            metadata = {
              mode             = "SubscriptionSize"
              subscriptionName = "projects/${var.project}/subscriptions/${subscription}"
              value            = tostring(worker.backlog_per_instance)
            }
            authenticationRef = { name = "own-account" }
          }
        ]
        advanced = {
          horizontalPodAutoscalerConfig = {
            behavior = {
              # Metrics are up to some minutes old: a pool that was made smaller at once would soon grow again.
              scaleDown = { stabilizationWindowSeconds = var.idle_seconds }
            }
          }
        }
      }
    }
  ]

  configuration = yamlencode({
    apiVersion = "crema/v1"
    kind       = "CremaConfig"
    spec = {
      pollingInterval        = var.polling_seconds
      triggerAuthentications = [{ metadata = { name = "own-account" }, spec = { podIdentity = { provider = "gcp" } } }]
      scaledObjects          = local.scaled_objects
    }
  })
}

resource "google_cloud_run_v2_service" "this" {
  # checkov:skip=CKV_GCP_102:nobody may invoke the service; it calls others
  project             = var.project
  name                = var.name
  location            = var.region
  description         = "Scales worker pools by the backlog of their subscriptions"
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = var.deletion_protection
  labels              = merge({ created-by = "crema" }, var.labels)

  # Two instances would scale the same pools against each other.
  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = 1
  }

  template {
    service_account = google_service_account.this.email

    containers {
      image          = var.image
      base_image_uri = var.base_image

      env {
        name  = "CREMA_CONFIG"
        value = var.parameter_version
      }
      env {
        name  = "OUTPUT_SCALER_METRICS"
        value = "False"
      }
      env {
        name  = "ENABLE_CLOUD_LOGGING"
        value = "False"
      }

      resources {
        # The service polls between requests, so its CPU is always allocated.
        cpu_idle = false
        limits   = { cpu = "1", memory = "512Mi" }
      }
    }
  }

  # A service without these permissions starts and scales nothing.
  depends_on = [
    google_cloud_run_v2_worker_pool_iam_member.this,
    google_project_iam_member.this,
    google_service_account_iam_member.this,
  ]
}
