"""The backend for ``redis://``: results in Redis."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("RedisBackend", "SentinelBackend")


class RedisBackend(StoreBackend):
    """Results in Redis."""


class SentinelBackend(StoreBackend):
    """Results in Redis with sentinels."""
