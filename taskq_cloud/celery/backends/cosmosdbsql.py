"""The backend for ``cosmosdbsql://``: results in Azure Cosmos DB."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("CosmosDBSQLBackend",)


class CosmosDBSQLBackend(StoreBackend):
    """Results in Azure Cosmos DB."""
