# A role, or a policy without a role, made of the statements that `taskq topology` writes: the calls of the code, and no more.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # An application doesn't know the account and region of its deployment, so its ARNs contain placeholders for them.
  # `id` is the region's name in versions 5 and 6 of the provider: version 6 deprecates `name`, and version 5 lacks `region`.
  region = coalesce(var.region, data.aws_region.current.id)
  statements = {
    for sid, statement in var.statements : sid => merge(statement, {
      resources = [
        for arn in statement.resources :
        replace(replace(replace(arn, "{partition}", data.aws_partition.current.partition), "{region}", local.region), "{account}", data.aws_caller_identity.current.account_id)
      ]
    })
  }
}

data "aws_iam_policy_document" "permissions" {
  dynamic "statement" {
    for_each = local.statements

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.conditions

        content {
          test     = condition.value.operator
          variable = condition.value.key
          values   = condition.value.values
        }
      }
    }
  }
}

data "aws_iam_policy_document" "trust" {
  count = var.assumed_by == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [var.assumed_by]
    }

    dynamic "condition" {
      # Lambda assumes roles without naming a source account.
      for_each = var.assumed_by == "lambda.amazonaws.com" ? [] : [data.aws_caller_identity.current.account_id]

      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "this" {
  count = var.assumed_by == null ? 0 : 1

  name                 = var.name
  assume_role_policy   = data.aws_iam_policy_document.trust[0].json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  # A worker whose messages and results are on a server needs no permission, and a policy needs a statement.
  count = var.assumed_by == null || length(var.statements) == 0 ? 0 : 1

  name   = var.name
  role   = aws_iam_role.this[0].id
  policy = data.aws_iam_policy_document.permissions.json
}

resource "aws_iam_policy" "this" {
  count = var.assumed_by == null ? 1 : 0

  name        = var.name
  description = "Permissions of ${var.name}: attach this policy to the role that its code runs with."
  policy      = data.aws_iam_policy_document.permissions.json
  tags        = var.tags
}
