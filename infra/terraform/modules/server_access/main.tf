# The way from an application's containers and functions to servers that are there, such as a cluster of ElastiCache: a
# security group for the clients, a rule for each port on either side, and permissions for logins by IAM.

locals {
  ports = {
    for pair in flatten([
      for name, server in var.servers : [for port in server.ports : { name = name, port = port, server = server }]
    ]) : "${pair.name}-${pair.port}" => pair
  }
  # Service Authorization Reference, "Amazon ElastiCache" and "Amazon RDS IAM Authentication".
  connect_actions = { redis = "elasticache:Connect", postgresql = "rds-db:connect", mariadb = "rds-db:connect" }
  connects        = { for name, server in var.servers : name => server if length(server.connect_arns) > 0 }
}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5:the modules of the containers and functions attach this group
  name        = "${var.name}-servers"
  description = "Clients of the servers of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.ports

  security_group_id            = aws_security_group.this.id
  description                  = "${each.value.server.kind} (${each.value.name})"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = each.value.server.cidr_ipv4
  referenced_security_group_id = each.value.server.security_group_id
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  # A server that is named by its addresses belongs to somebody else. The group of a server may still have to be made,
  # and only the addresses are known before that.
  for_each = { for key, each in local.ports : key => each if each.server.cidr_ipv4 == null }

  security_group_id            = each.value.server.security_group_id
  description                  = "Clients of ${var.name}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.this.id
  tags                         = var.tags
}

data "aws_iam_policy_document" "connect" {
  count = length(local.connects) > 0 ? 1 : 0

  dynamic "statement" {
    for_each = local.connects

    content {
      sid       = "Connect${replace(title(statement.key), "/[^A-Za-z0-9]/", "")}"
      actions   = [local.connect_actions[statement.value.kind]]
      resources = statement.value.connect_arns
    }
  }
}

resource "aws_iam_role_policy" "connect" {
  for_each = length(local.connects) > 0 ? var.role_names : {}

  name   = "${var.name}-servers"
  role   = each.value
  policy = data.aws_iam_policy_document.connect[0].json
}
