# A Cloud Run worker pool whose containers run `taskq worker`. They serve no requests, and their CPU is always allocated.

locals {
  # Cloud Run kills a container ten seconds after SIGTERM.
  environment = merge({ TASKQ_WORKER_SHUTDOWN_TIMEOUT = "8", TASKQ_LOG_FORMAT = "json" }, var.environment)
  pool        = one(concat(google_cloud_run_v2_worker_pool.this, google_cloud_run_v2_worker_pool.scaled))
}

resource "google_cloud_run_v2_worker_pool" "this" {
  count = var.scaled ? 0 : 1

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
        for_each = local.environment

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

  # A container doesn't start without access to its secrets.
  depends_on = [google_secret_manager_secret_iam_member.this]
}

# The same worker pool, whose number of instances Terraform sets once and then leaves alone: a lifecycle can't depend on a variable.
resource "google_cloud_run_v2_worker_pool" "scaled" {
  count = var.scaled ? 1 : 0

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
        for_each = local.environment

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

  # A container doesn't start without access to its secrets.
  depends_on = [google_secret_manager_secret_iam_member.this]

  lifecycle {
    # The autoscaler changes the number: see gcp_run_scaling.
    ignore_changes = [scaling[0].manual_instance_count]
  }
}
