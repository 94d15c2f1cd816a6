# The execution role, with which ECS starts containers, and one permission that is added to the task role.

locals {
  # A reference may name a key and a version of a secret, after the seven parts of the secret's own ARN.
  secret_arns = distinct([for arn in values(var.secrets) : join(":", chunklist(split(":", arn), 7)[0])])
  secrets = {
    for sid, action in { ReadSecrets = "secretsmanager:GetSecretValue", ReadParameters = "ssm:GetParameters" } :
    sid => { action = action, arns = [for arn in local.secret_arns : arn if split(":", arn)[2] == split(":", action)[0]] }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  # checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken supports no resource but * ("Actions, resources, and condition keys for Amazon ECR")
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.ecr_repository_arn == null ? [] : [var.ecr_repository_arn]

    content {
      sid       = "PullImage"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  dynamic "statement" {
    for_each = { for sid, each in local.secrets : sid => each if length(each.arns) > 0 }

    content {
      sid       = statement.key
      actions   = [statement.value.action]
      resources = statement.value.arns
    }
  }

  dynamic "statement" {
    for_each = length(var.secrets_kms_key_arns) == 0 ? [] : [var.secrets_kms_key_arns]

    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "${var.name}-execution"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

# While a worker runs a long task, it asks ECS to protect its container from scaling in and from deployments.
data "aws_iam_policy_document" "task_protection" {
  statement {
    sid       = "ProtectItself"
    actions   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
    resources = ["arn:${data.aws_partition.current.partition}:ecs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:task/${var.cluster_name}/*"]
  }
}

resource "aws_iam_role_policy" "task_protection" {
  name   = "task-protection"
  role   = var.task_role_name
  policy = data.aws_iam_policy_document.task_protection.json
}
