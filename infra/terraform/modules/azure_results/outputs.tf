output "account_url" {
  description = "URL of the account's blob service."
  value       = azurerm_storage_account.this.primary_blob_endpoint
}

output "environment" {
  description = "Settings of an application that keeps results in the container and signs in with an identity: see docs/results.md."
  value       = { TASKQ_RESULTS = "azureblob://${azurerm_storage_container.this.name}?account_url=${trimsuffix(azurerm_storage_account.this.primary_blob_endpoint, "/")}" }
}
