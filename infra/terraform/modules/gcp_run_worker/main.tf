# A Cloud Run worker pool whose containers run `taskq worker`. They serve no requests, and their CPU is always allocated.

resource "google_cloud_run_v2_worker_pool" "this" {
  project             = var.project
  name                = var.name
  location            = var.region
  deletion_protection = var.deletion_protection
  labels              = var.labels

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.instances
  }

  template {
    service_account = google_service_account.this.email

    containers {
      image = var.image
      args  = var.command

      resources {
        limits = {
          cpu    = var.cpu
          memory = "${var.memory_mb}Mi"
        }
      }

      dynamic "env" {
        # Cloud Run kills a container ten seconds after SIGTERM.
        for_each = merge({ TASKQ_WORKER_SHUTDOWN_TIMEOUT = "8", TASKQ_LOG_FORMAT = "json" }, var.environment)

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }
    }
  }
}
