# The remote state of the environment production: terraform init -reconfigure -backend-config=production.backend.hcl
bucket       = "shop-terraform-state-222222222222"
key          = "shop/production.tfstate"
region       = "eu-west-1"
encrypt      = true
use_lockfile = true
