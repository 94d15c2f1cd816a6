mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "42" }
  }
  mock_resource "google_service_account" {
    defaults = { email = "shop-worker@shop-prod.iam.gserviceaccount.com", name = "projects/shop-prod/serviceAccounts/shop-worker@shop-prod.iam.gserviceaccount.com" }
  }
  mock_resource "google_pubsub_topic" {
    defaults = { id = "projects/shop-prod/topics/shop-orders" }
  }
}

variables {
  declared = {
    name        = "shop"
    project     = "shop-prod"
    environment = { TASKQ_APP = "shop:app" }
    subscriptions = {
      orders = {
        topic                     = "shop-orders"
        subscription              = "shop-orders"
        ordered                   = false
        ack_deadline_seconds      = 60
        message_retention_seconds = 345600
        max_delivery_attempts     = 10
        dead_letter_topic         = "shop-orders-dead"
        dead_letter_subscription  = "shop-orders-dead"
      }
    }
    services = {
      shop-worker = {
        name          = "shop-worker"
        queues        = ["orders"]
        maximum_tasks = 8

        backlog_per_task = 50
        command          = ["taskq", "worker", "-A", "shop:app", "-Q", "orders"]
        cpu_units        = 512
        memory_mb        = 1024
        minimum_tasks    = 0
        environment      = { TASKQ_APP = "shop:app" }
      }
    }
    buckets = {
      shop-results  = { provider = "google", region = null, lifecycle_rules = { results = { prefix = "celery-task-meta-", expire_days = 1 } } }
      shop-payloads = { provider = "aws", region = "eu-west-1", lifecycle_rules = {} }
    }
    scheduler_jobs = {
      nightly = { location = "europe-west1", schedule = "0 3 * * *", queue = "orders", message = "{}" }
    }
  }
  region              = "europe-west1"
  image               = "shop:1"
  producers           = { web = "serviceAccount:web@shop-prod.iam.gserviceaccount.com" }
  deletion_protection = false # so that the tests can destroy what they make
}

run "declared_application_is_made_as_a_whole" {
  command = apply

  assert {
    condition     = keys(output.topics) == ["orders"] && keys(output.worker_members) == ["shop-worker"]
    error_message = "a queue or a worker of the declaration is missing"
  }
  assert {
    condition     = output.environment.TASKQ_APP == "shop:app" && output.environment.TASKQ_BROKER == "pubsub://shop-prod/shop-"
    error_message = "the output is not the declared settings with the broker"
  }
  assert {
    condition     = keys(google_storage_bucket.this) == ["shop-results"] && google_storage_bucket.this["shop-results"].location == "europe-west1"
    error_message = "the buckets are not those of Google Cloud, in the given region"
  }
  assert {
    condition     = keys(google_storage_bucket_iam_member.this) == ["shop-results shop-worker", "shop-results web"]
    error_message = "workers and producers may not use the bucket"
  }
}

run "only_queues_that_are_named_lose_their_protection" {
  command = plan

  variables {
    deletion_protection = true
    unprotected_queues  = ["orders"]
    declared            = merge(var.declared, { subscriptions = merge(var.declared.subscriptions, { mail = merge(var.declared.subscriptions.orders, { topic = "shop-mail", subscription = "shop-mail", dead_letter_topic = "shop-mail-dead", dead_letter_subscription = "shop-mail-dead" }) }) })
  }

  assert {
    condition     = { for key, record in terraform_data.queue : key => record.input.protected } == { orders = false, mail = true }
    error_message = "a queue is protected though it is named, or is not protected"
  }
}

run "services_without_an_image_are_refused" {
  command = plan

  variables {
    image = null
  }

  expect_failures = [var.image]
}

run "workers_are_scaled_between_their_declared_limits" {
  command = apply

  variables {
    scaling = { parameter_version = "projects/shop-prod/locations/global/parameters/shop-scaling/versions/v1" }
  }

  assert {
    condition     = [for each in yamldecode(output.scaling_configuration).spec.scaledObjects : [each.spec.minReplicaCount, each.spec.maxReplicaCount, each.spec.triggers[0].metadata.value]] == [[0, 8, "50"]]
    error_message = "the workers are scaled by other values than the declared ones"
  }
  assert {
    condition     = yamldecode(output.scaling_configuration).spec.scaledObjects[0].spec.triggers[0].metadata.subscriptionName == "projects/shop-prod/subscriptions/shop-orders"
    error_message = "the workers are scaled by the backlog of another subscription"
  }
}
