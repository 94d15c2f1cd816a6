"""The backend for ``mongodb://``: results in MongoDB."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("MongoBackend",)


class MongoBackend(StoreBackend):
    """Results in MongoDB."""
