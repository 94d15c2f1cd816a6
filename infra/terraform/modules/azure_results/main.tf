# A storage account that requires TLS, with a private container for results or payloads.

resource "azurerm_storage_account" "this" {
  # checkov:skip=CKV_AZURE_33:the queue service of this account is not used
  # checkov:skip=CKV_AZURE_206:results are short-lived; the variable replication chooses another kind
  # checkov:skip=CKV_AZURE_59:workers outside Azure need the public endpoint; allowed_ip_ranges and subnet_ids restrict it
  # checkov:skip=CKV2_AZURE_1:Azure encrypts with its own key; a key of the user needs a vault of the user
  # checkov:skip=CKV2_AZURE_33:a private endpoint needs a network of the user
  # checkov:skip=CKV2_AZURE_38:results expire within days, and a task can make them again
  # checkov:skip=CKV2_AZURE_41:shared access signatures are off when shared keys are
  # checkov:skip=CKV2_AZURE_40:shared keys are off unless shared_access_keys turns them on
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
  # checkov:skip=CKV2_AZURE_21:read requests are not logged, because each poll for a result is one
  name                  = var.container_name
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}
