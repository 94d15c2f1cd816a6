"""The backend for ``cache+memory://``: results in this process's memory."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("CacheBackend",)


class CacheBackend(StoreBackend):
    """Results in this process's memory, by the native store of that kind."""

    def as_uri(self, include_password: bool = False) -> str:
        """Return the backend's URL, as Celery shows it."""
        return "memory:///"
