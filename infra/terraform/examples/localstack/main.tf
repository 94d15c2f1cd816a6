# The application on a local AWS stack. The environment variable AWS_ENDPOINT_URL names the stack, which takes any credentials.
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
  # A function calls the stack that it runs in.
  local_environment = {
    AWS_ENDPOINT_URL      = var.endpoint_url
    AWS_ACCESS_KEY_ID     = "test"
    AWS_SECRET_ACCESS_KEY = "test"
    AWS_DEFAULT_REGION    = local.declared.region
  }
  functions = {
    for queue, function in local.declared.functions :
    queue => merge(function, { environment = merge(function.environment, local.local_environment) })
  }
}

module "taskq" {
  source = "../../modules/taskq"
  # Outside of this repository, pin the module to a version:
  # source = "git::https://example.com/taskq-cloud.git//infra/terraform/modules/taskq?ref=v0.1.0"

  declared            = merge(local.declared, { functions = local.functions })
  package             = { filename = var.package_filename }
  runtime             = var.runtime
  observability       = null
  deletion_protection = false
  local_stack         = true
}
