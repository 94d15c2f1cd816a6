# The application on a local stack: the endpoint is AWS_ENDPOINT_URL's, the credentials are any.
#
#     taskq package -A shop:app
#     AWS_ENDPOINT_URL=http://127.0.0.1:4566 terraform apply -var package_filename=dist/lambda/function.zip

provider "aws" {
  region                      = local.declared.region
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true
}

locals {
  declared = jsondecode(file("${path.module}/taskq.tfvars.json"))
  # A function calls the stack it runs in.
  local_environment = {
    AWS_ENDPOINT_URL      = var.endpoint_url
    AWS_ACCESS_KEY_ID     = "test"
    AWS_SECRET_ACCESS_KEY = "test"
    AWS_DEFAULT_REGION    = local.declared.region
  }
  functions = {
    for queue, function in local.declared.functions : queue => merge(function, { environment = merge(function.environment, local.local_environment) })
  }
}

module "taskq" {
  source = "../../modules/taskq"

  name           = local.declared.name
  region         = local.declared.region
  kms_key_arn    = local.declared.kms_key_arn
  environment    = local.declared.environment
  queues         = local.declared.queues
  functions      = local.functions
  services       = local.declared.services
  tables         = local.declared.tables
  buckets        = local.declared.buckets
  roles          = local.declared.roles
  schedule_group = local.declared.schedule_group
  schedules      = local.declared.schedules

  package             = { filename = var.package_filename }
  runtime             = var.runtime
  observability       = null
  deletion_protection = false
  local_stack         = true
}
