# Roles of functions and containers, and policies for programs that call tasks.

module "role" {
  source   = "../iam_role"
  for_each = var.declared.roles

  name                     = each.key
  assumed_by               = each.value.assumed_by
  statements               = each.value.statements
  region                   = var.declared.region
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = local.tags
}
