# Permissions that the application doesn't declare: for Lambda itself, which acts under the function's role for a VPC, for
# tracing and for the destinations of invocations, and for the secrets that Terraform alone knows.

locals {
  platform    = var.vpc != null || var.tracing || length(var.secrets) > 0 || var.on_failure_arn != null || try(var.asynchronous.on_success_arn, null) != null || try(var.asynchronous.on_failure_arn, null) != null
  account_arn = "${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  ec2         = "arn:${data.aws_partition.current.partition}:ec2:${local.account_arn}"
  # A reference may name a key and a version of a secret, after the seven parts of the secret's own ARN.
  secret_arns = distinct([for arn in values(var.secrets) : join(":", chunklist(split(":", arn), 7)[0])])
  secrets = {
    for sid, action in { ReadSecrets = "secretsmanager:GetSecretValue", ReadParameters = "ssm:GetParameter" } :
    sid => { action = action, arns = [for arn in local.secret_arns : arn if split(":", arn)[2] == split(":", action)[0]] }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

data "aws_iam_policy_document" "platform" {
  # checkov:skip=CKV_AWS_111:Lambda creates and deletes interfaces whose names are not known before; the function's code is denied both
  # checkov:skip=CKV_AWS_356:the Describe calls and X-Ray's calls support no resource but * (Service Authorization Reference)
  count = local.platform ? 1 : 0

  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]

    content {
      sid       = "ManageInterfaces"
      actions   = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses"]
      resources = ["${local.ec2}:*/*"]
    }
  }

  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]

    content {
      sid       = "FindInterfaces"
      actions   = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
      resources = ["*"]
    }
  }

  # Lambda needs the two statements above, and the function's code doesn't: this statement denies them to the code
  # ("Giving Lambda functions access to resources in an Amazon VPC").
  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]

    content {
      sid    = "NotForTheCode"
      effect = "Deny"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = ["arn:${data.aws_partition.current.partition}:lambda:${local.account_arn}:function:${var.name}"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.tracing ? [1] : []

    content {
      sid       = "SendTraces"
      actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }
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

  dynamic "statement" {
    for_each = var.on_failure_arn == null ? [] : [var.on_failure_arn]

    content {
      sid       = "KeepFailures"
      actions   = [local.destination_actions[split(":", statement.value)[2]]]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = { for arn in local.destination_arns : split(":", arn)[2] => arn... }

    content {
      sid       = "KeepResultsIn${title(statement.key)}"
      actions   = [local.destination_actions[statement.key]]
      resources = distinct(statement.value)
    }
  }
}

resource "aws_iam_role_policy" "platform" {
  count = local.platform && var.role_name != null ? 1 : 0

  name   = "platform"
  role   = var.role_name
  policy = data.aws_iam_policy_document.platform[0].json
}
