# Results, or payloads, in Azure Blob Storage: an account that speaks TLS only, a private container, and its expiry.

resource "azurerm_storage_account" "this" {
  # checkov:skip=CKV_AZURE_33:no queues of this account are used
  # checkov:skip=CKV_AZURE_206:results are short-lived: replication chooses another kind
  # checkov:skip=CKV_AZURE_59:workers outside Azure need the public endpoint; allowed_ip_ranges and subnet_ids close it
  # checkov:skip=CKV2_AZURE_1:Azure encrypts with its own key; a key of the user's needs a vault of the user's
  # checkov:skip=CKV2_AZURE_33:a private endpoint needs a network of the user's
  # checkov:skip=CKV2_AZURE_38:results expire within days and can be made again
  # checkov:skip=CKV2_AZURE_41:shared access signatures are off with shared keys
  # checkov:skip=CKV2_AZURE_40:shared keys are off unless asked for: shared_access_keys
  name                            = var.account_name
  resource_group_name             = var.resource_group_name
  location                        = var.location
  account_tier                    = "Standard"
  account_replication_type        = var.replication
  account_kind                    = "StorageV2"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  shared_access_key_enabled       = var.shared_access_keys
  tags                            = var.tags

  dynamic "network_rules" {
    for_each = length(var.allowed_ip_ranges) + length(var.subnet_ids) == 0 ? [] : [1]

    content {
      default_action             = "Deny"
      bypass                     = ["AzureServices"]
      ip_rules                   = var.allowed_ip_ranges
      virtual_network_subnet_ids = var.subnet_ids
    }
  }
}

resource "azurerm_storage_container" "this" {
  # checkov:skip=CKV2_AZURE_21:read requests are not logged: there is one for each look at a result
  name                  = var.container_name
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

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
        # A rule's prefix begins with the container's name ("Optimize costs by automatically managing the data lifecycle").
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

resource "azurerm_role_assignment" "workers" {
  for_each = toset(var.principal_ids)

  scope                = azurerm_storage_container.this.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = each.value
}
