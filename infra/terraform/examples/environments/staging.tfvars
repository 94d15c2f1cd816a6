# The inputs of the environment staging; secrets are references, never values.
account_id  = "111111111111"
environment = "staging"
image       = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop:1"
network     = { subnet_ids = ["subnet-0aaaaaaaaaaaaaaa1"], security_group_ids = ["sg-0aaaaaaaaaaaaaaa1"] }
secrets = {
  TASKQ_MESSAGE_SIGNING_KEYS = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:shop/staging-a1b2c3:signing_keys::"
}
deletion_protection = false
