mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_security_group" {
    defaults = { id = "sg-00000000000000001" }
  }
}

variables {
  name   = "shop"
  vpc_id = "vpc-0123456789abcdef0"
  servers = {
    broker = {
      kind              = "redis"
      ports             = [6379, 6380]
      security_group_id = "sg-0123456789abcdef0"
      connect_arns      = ["arn:aws:elasticache:eu-west-1:123456789012:user:shop", "arn:aws:elasticache:eu-west-1:123456789012:replicationgroup:shop"]
    }
    results = {
      kind         = "postgresql"
      ports        = [5432]
      cidr_ipv4    = "203.0.113.7/32"
      connect_arns = ["arn:aws:rds-db:eu-west-1:123456789012:dbuser:db-ABCDEFGHIJKL/shop"]
    }
  }
  role_names = { worker = "shop-worker-service" }
}

run "clients_reach_every_port_of_every_server" {
  command = apply

  assert {
    condition     = { for key, rule in aws_vpc_security_group_egress_rule.this : key => "${rule.from_port}-${rule.to_port} ${coalesce(rule.referenced_security_group_id, rule.cidr_ipv4)}" } == { broker-6379 = "6379-6379 sg-0123456789abcdef0", broker-6380 = "6380-6380 sg-0123456789abcdef0", results-5432 = "5432-5432 203.0.113.7/32" }
    error_message = "a port has no rule, or a rule has another destination"
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.this : rule.security_group_id == output.security_group_id])
    error_message = "a rule belongs to another security group than the clients'"
  }
}

run "server_with_a_security_group_lets_clients_in" {
  command = apply

  assert {
    condition     = { for key, rule in aws_vpc_security_group_ingress_rule.this : key => [rule.security_group_id, rule.referenced_security_group_id] } == { broker-6379 = ["sg-0123456789abcdef0", "sg-00000000000000001"], broker-6380 = ["sg-0123456789abcdef0", "sg-00000000000000001"] }
    error_message = "the server's group lets others in, or not the clients"
  }
}

run "roles_may_log_in_as_named_users" {
  command = apply

  assert {
    condition     = [for statement in data.aws_iam_policy_document.connect[0].statement : [statement.sid, statement.actions]] == [["ConnectBroker", toset(["elasticache:Connect"])], ["ConnectResults", toset(["rds-db:connect"])]]
    error_message = "a login by IAM has another action"
  }
  assert {
    condition     = aws_iam_role_policy.connect["worker"].role == "shop-worker-service"
    error_message = "the worker's role has no permission"
  }
}

run "servers_without_iam_need_no_policy" {
  command = apply

  variables {
    servers = { broker = { kind = "rabbitmq", ports = [5671], security_group_id = "sg-0123456789abcdef0" } }
  }

  assert {
    condition     = length(aws_iam_role_policy.connect) == 0 && output.connect_policy_json == null
    error_message = "a policy is made for nothing"
  }
}

run "login_by_iam_on_rabbitmq_is_refused" {
  command = plan

  variables {
    servers = { broker = { kind = "rabbitmq", ports = [5671], cidr_ipv4 = "203.0.113.7/32", connect_arns = ["arn:aws:mq:eu-west-1:123456789012:broker:shop"] } }
  }

  expect_failures = [var.servers]
}

run "login_as_every_user_is_refused" {
  command = plan

  variables {
    servers = { broker = { kind = "redis", ports = [6379], cidr_ipv4 = "203.0.113.7/32", connect_arns = ["arn:aws:elasticache:eu-west-1:123456789012:user:*"] } }
  }

  expect_failures = [var.servers]
}

run "server_with_a_group_and_addresses_is_refused" {
  command = plan

  variables {
    servers = { broker = { kind = "redis", ports = [6379], security_group_id = "sg-0123456789abcdef0", cidr_ipv4 = "203.0.113.7/32" } }
  }

  expect_failures = [var.servers]
}

run "server_without_ports_is_refused" {
  command = plan

  variables {
    servers = { broker = { kind = "redis", ports = [], cidr_ipv4 = "203.0.113.7/32" } }
  }

  expect_failures = [var.servers]
}
