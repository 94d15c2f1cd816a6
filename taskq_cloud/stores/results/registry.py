"""Finds the result store for a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.urls import Registry

STORES: Final = Registry(
    "result store",
    {
        "azureblob": "taskq_cloud.stores.results.azure_blob:AzureBlobResults",
        # Celery's scheme for Azure Blob Storage.
        "azureblockblob": "taskq_cloud.stores.results.azure_blob:AzureBlobResults",
        "disabled": "taskq_cloud.stores.results.disabled:DisabledResults",
        "dynamodb": "taskq_cloud.stores.results.dynamodb:DynamoDBResults",
        "gs": "taskq_cloud.stores.results.gcs:GCSResults",
        "memory": "taskq_cloud.stores.results.memory:MemoryResults",
        "s3": "taskq_cloud.stores.results.s3:S3Results",
        "sqlite": "taskq_cloud.stores.results.sqlite:SQLiteResults",
    },
    "taskq_cloud.results",
)


def store_from_url(url: str, options: Mapping[str, Any]) -> ResultStore:
    """Make the result store for a URL, without a call to its service.

    Args:
        url: ``dynamodb://table``, ``s3://bucket/prefix``, ``azureblob://container/prefix``, ``gs://bucket/prefix``,
            ``sqlite:///path``, ``memory://``, ``disabled://``, or a URL with the scheme of an installed package.
        options: further options for a store from another package.

    Raises:
        ImproperlyConfigured: no store has the URL's scheme, or the store can't read the rest of the URL.
    """
    store: ResultStore = STORES.open(url, options)
    return store
