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
  scaled              = var.scaling != null
  instances           = var.scaling == null ? max(1, each.value.minimum_tasks) : each.value.minimum_tasks
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

module "scaling" {
  source = "../gcp_run_scaling"
  count  = var.scaling == null ? 0 : 1

  project            = var.declared.project
  region             = var.region
  name               = "${var.declared.name}-scaling"
  service_account_id = "${var.declared.name}-scaling"
  parameter_version  = var.scaling.parameter_version
  polling_seconds    = var.scaling.polling_seconds
  idle_seconds       = var.scaling.idle_seconds
  workers = {
    for name, service in var.declared.services : name => {
      name                 = module.worker[name].name
      region               = var.region
      service_account      = module.worker[name].service_account_name
      subscriptions        = [for queue in service.queues : var.declared.subscriptions[queue].subscription]
      minimum_instances    = service.minimum_tasks
      maximum_instances    = service.maximum_tasks
      backlog_per_instance = service.backlog_per_task
    }
  }
  deletion_protection = var.deletion_protection
  labels              = var.labels
}
