mock_provider "azurerm" {
  mock_resource "azurerm_storage_account" {
    defaults = {
      id                    = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Storage/storageAccounts/shopresults"
      primary_blob_endpoint = "https://shopresults.blob.core.windows.net/"
    }
  }
  mock_resource "azurerm_storage_container" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Storage/storageAccounts/shopresults/blobServices/default/containers/results" }
  }
}

variables {
  account_name        = "shopresults"
  resource_group_name = "shop"
  location            = "westeurope"
  container_name      = "results"
  lifecycle_rules     = { taskq-results = { prefix = "", expire_days = 1 } }
  principal_ids       = ["11111111-1111-1111-1111-111111111111"]
}

run "account_by_default_is_private_and_tls_only" {
  command = apply

  assert {
    condition     = azurerm_storage_account.this.min_tls_version == "TLS1_2" && azurerm_storage_account.this.https_traffic_only_enabled
    error_message = "the account accepts calls without TLS 1.2"
  }
  assert {
    condition     = !azurerm_storage_account.this.shared_access_key_enabled && !azurerm_storage_account.this.allow_nested_items_to_be_public
    error_message = "shared keys are on, or containers can be public"
  }
  assert {
    condition     = azurerm_storage_management_policy.this[0].rule[0].filters[0].prefix_match == toset(["results/"])
    error_message = "the prefix does not begin with the container's name"
  }
  assert {
    condition     = output.environment.TASKQ_RESULTS == "azureblob://results?account_url=https://shopresults.blob.core.windows.net"
    error_message = "the output is not the application's setting"
  }
}

run "invalid_name_is_refused" {
  command = plan

  variables {
    account_name = "shop-results"
  }

  expect_failures = [var.account_name]
}
