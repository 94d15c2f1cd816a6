"""The backend for ``db+...://``: results in an SQL database."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("DatabaseBackend",)


class DatabaseBackend(StoreBackend):
    """Results in an SQL database."""
