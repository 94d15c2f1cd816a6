"""The backend for ``couchdb://``: results in CouchDB."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("CouchBackend",)


class CouchBackend(StoreBackend):
    """Results in CouchDB."""
