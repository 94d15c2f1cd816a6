# The way to servers of messages and results that are there already: see the module `server_access`.

locals {
  reached_servers = var.server_access == null ? {} : {
    for name, server in var.server_access.servers : name => {
      kind              = var.declared.servers[name].kind
      ports             = coalesce(server.ports, distinct(var.declared.servers[name].addresses[*].port))
      security_group_id = server.security_group_id
      cidr_ipv4         = server.cidr_ipv4
      connect_arns      = server.connect_arns
    }
  }
  server_client_groups = module.server_access[*].security_group_id
}

module "server_access" {
  source = "../server_access"
  count  = var.server_access == null ? 0 : 1

  name       = var.declared.name
  vpc_id     = var.server_access.vpc_id
  servers    = local.reached_servers
  role_names = { for name, role in var.declared.roles : name => module.role[name].name if role.assumed_by != null }
  tags       = local.tags
}
