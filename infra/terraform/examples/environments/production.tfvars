# The inputs of the environment production; secrets are references, never values.
account_id  = "222222222222"
environment = "production"
image       = "222222222222.dkr.ecr.eu-west-1.amazonaws.com/shop:1"
network     = { subnet_ids = ["subnet-0aaaaaaaaaaaaaaa2"], security_group_ids = ["sg-0aaaaaaaaaaaaaaa2"] }
secrets = {
  TASKQ_MESSAGE_SIGNING_KEYS = "arn:aws:secretsmanager:eu-west-1:222222222222:secret:shop/production-a1b2c3:signing_keys::"
}
deletion_protection = true
