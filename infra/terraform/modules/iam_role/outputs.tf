output "arn" {
  description = "The role's ARN; null where there is none."
  value       = one(aws_iam_role.this[*].arn)

  # Whoever is given the role may use what it allows: an event source mapping is refused before.
  depends_on = [aws_iam_role_policy.this]
}

output "name" {
  description = "The role's name; null where there is none."
  value       = one(aws_iam_role.this[*].name)
}

output "policy_arn" {
  description = "The ARN of the policy that is to be attached; null where there is a role."
  value       = one(aws_iam_policy.this[*].arn)
}

output "policy_json" {
  description = "The permissions as a policy document."
  value       = data.aws_iam_policy_document.permissions.json
}
