output "security_group_id" {
  description = "Id of the security group to attach to containers and functions, and to programs that call tasks."
  value       = aws_security_group.this.id
}

output "connect_policy_json" {
  description = "Policy document with the permissions for logins by IAM, for programs that call tasks. Null if no server has `connect_arns`."
  value       = one(data.aws_iam_policy_document.connect[*].json)
}
