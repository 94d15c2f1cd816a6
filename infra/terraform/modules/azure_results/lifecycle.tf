# Expiry of the container's blobs.

resource "azurerm_storage_management_policy" "this" {
  count = length(var.lifecycle_rules) == 0 ? 0 : 1

  storage_account_id = azurerm_storage_account.this.id

  dynamic "rule" {
    for_each = var.lifecycle_rules

    content {
      name    = rule.key
      enabled = true

      filters {
        blob_types = ["blockBlob"]
        # The prefix of a rule begins with the name of the container ("Optimize costs by automatically managing the data lifecycle").
        prefix_match = ["${var.container_name}/${rule.value.prefix}"]
      }

      actions {
        base_blob {
          delete_after_days_since_modification_greater_than = rule.value.expire_days
        }
      }
    }
  }
}
