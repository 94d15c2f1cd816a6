"""The backend for ``azureblockblob://``: results in a container of Azure Blob Storage."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("AzureBlockBlobBackend",)


class AzureBlockBlobBackend(StoreBackend):
    """Results in a container of Azure Blob Storage."""
