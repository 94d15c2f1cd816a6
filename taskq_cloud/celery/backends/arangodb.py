"""The backend for ``arangodb://``: results in ArangoDB."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("ArangoDbBackend",)


class ArangoDbBackend(StoreBackend):
    """Results in ArangoDB."""
