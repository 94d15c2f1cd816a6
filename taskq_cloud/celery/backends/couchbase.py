"""The backend for ``couchbase://``: results in Couchbase."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("CouchbaseBackend",)


class CouchbaseBackend(StoreBackend):
    """Results in Couchbase."""
