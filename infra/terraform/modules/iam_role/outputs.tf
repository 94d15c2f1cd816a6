output "arn" {
  description = "ARN of the role. Null if there is a policy instead."
  value       = one(aws_iam_role.this[*].arn)

  # Resources that use the role wait for its permissions: Lambda would refuse an event source mapping without them.
  depends_on = [aws_iam_role_policy.this]
}

output "name" {
  description = "Name of the role. Null if there is a policy instead."
  value       = one(aws_iam_role.this[*].name)
}

output "policy_arn" {
  description = "ARN of the policy to attach. Null if there is a role."
  value       = one(aws_iam_policy.this[*].arn)
}

output "policy_json" {
  description = "Policy document with the permissions."
  value       = data.aws_iam_policy_document.permissions.json
}
