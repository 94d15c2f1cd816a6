# One application in two environments, staging and production, each with its own account, state, names and sizes.
#
#     TASKQ_ENV_FILE=staging.env taskq topology -A shop:app > staging.taskq.json
#     taskq package -A shop:app --python 3.13
#     terraform init -reconfigure -backend-config=staging.backend.hcl
#     terraform apply -var-file=staging.tfvars

provider "aws" {
  region = local.declared.region
  # A plan with the credentials of another environment's account ends here.
  allowed_account_ids = [var.account_id]
}

locals {
  declared = jsondecode(file("${path.module}/${var.environment}.taskq.json"))
}

module "taskq" {
  source = "../../modules/taskq"
  # Outside of this repository, pin the module to a version:
  # source = "git::https://example.com/taskq-cloud.git//infra/terraform/modules/taskq?ref=v0.1.0"

  declared            = local.declared
  package             = { filename = var.package_filename }
  image               = var.image
  network             = var.network
  secrets             = var.secrets
  deletion_protection = var.deletion_protection
  tags                = { environment = var.environment }
}
