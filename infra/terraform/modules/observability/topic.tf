# A topic through which alarms reach people, with a key that CloudWatch may use: it may not use the key alias/aws/sns, and a
# topic with that key would drop every alarm without an error.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  topic      = length(var.emails) > 0
  topic_arns = concat(var.alarm_topic_arns, aws_sns_topic.alarms[*].arn)
  account    = data.aws_caller_identity.current.account_id
  alarm_arns = "arn:${data.aws_partition.current.partition}:cloudwatch:${data.aws_region.current.id}:${local.account}:alarm:${var.name}-*"
}

data "aws_iam_policy_document" "key" {
  # checkov:skip=CKV_AWS_109:this is a key's policy, in which * is the key itself; the account administers it, as in AWS's default policy
  # checkov:skip=CKV_AWS_111:this is a key's policy, in which * is the key itself; the account administers it, as in AWS's default policy
  # checkov:skip=CKV_AWS_356:this is a key's policy, in which * is the key itself
  count = local.topic ? 1 : 0

  statement {
    sid       = "AdministerByPolicies"
    actions   = ["kms:*"] # AWS's default: without it, the account could lock itself out of its key.
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "EncryptAlarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = [local.alarm_arns]
    }
  }
}

resource "aws_kms_key" "alarms" {
  count = local.topic ? 1 : 0

  description             = "Encrypts the alarms of ${var.name} on their way to people."
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.key[0].json
  tags                    = var.tags
}

resource "aws_sns_topic" "alarms" {
  count = local.topic ? 1 : 0

  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.alarms[0].arn
  tags              = var.tags
}

data "aws_iam_policy_document" "topic" {
  count = local.topic ? 1 : 0

  statement {
    sid       = "PublishAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms[0].arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = [local.alarm_arns]
    }
  }

  statement {
    sid       = "DenyWithoutTLS"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms[0].arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.topic ? 1 : 0

  arn    = aws_sns_topic.alarms[0].arn
  policy = data.aws_iam_policy_document.topic[0].json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.emails)

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = each.value
}
