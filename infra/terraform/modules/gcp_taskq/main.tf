# An application's whole declaration on Google Cloud: its queues, its workers and its schedules.

module "worker" {
  source   = "../gcp_run_worker"
  for_each = var.declared.services

  project             = var.declared.project
  region              = var.region
  name                = each.value.name
  service_account_id  = each.value.name
  image               = var.image
  command             = each.value.command
  environment         = merge(each.value.environment, module.queues.environment)
  secrets             = var.secrets
  instances           = max(1, each.value.minimum_tasks)
  memory_mb           = each.value.memory_mb
  deletion_protection = var.deletion_protection
  labels              = var.labels
}

module "queues" {
  source = "../gcp_pubsub"

  project       = var.declared.project
  subscriptions = var.declared.subscriptions
  producers     = var.producers
  workers       = { for name, worker in module.worker : name => worker.member }
  delays        = { queue = "${var.declared.name}-later", location = var.region, service_account_id = "${var.declared.name}-later" }
  kms_key_name  = var.kms_key_name
  labels        = var.labels
}

module "schedules" {
  source = "../gcp_schedules"

  project = var.declared.project
  topics  = module.queues.topics
  jobs    = var.declared.scheduler_jobs
}
