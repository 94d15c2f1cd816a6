# Access of managed identities to the container.

resource "azurerm_role_assignment" "workers" {
  for_each = toset(var.principal_ids)

  scope                = azurerm_storage_container.this.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = each.value
}
