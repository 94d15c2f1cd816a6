output "account_url" {
  description = "The account's blob endpoint."
  value       = azurerm_storage_account.this.primary_blob_endpoint
}

output "environment" {
  description = "The application's setting, for identities: see docs/results.md."
  value       = { TASKQ_RESULTS = "azureblob://${azurerm_storage_container.this.name}?account_url=${trimsuffix(azurerm_storage_account.this.primary_blob_endpoint, "/")}" }
}
