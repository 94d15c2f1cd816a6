"""The backend for ``cache+memory://``: results in this process's memory."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("CacheBackend",)


class CacheBackend(StoreBackend):
    """Results in this process's memory, by the native store of that kind."""
