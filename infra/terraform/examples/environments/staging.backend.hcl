# The remote state of the environment staging: terraform init -reconfigure -backend-config=staging.backend.hcl
bucket       = "shop-terraform-state-111111111111"
key          = "shop/staging.tfstate"
region       = "eu-west-1"
encrypt      = true
use_lockfile = true
