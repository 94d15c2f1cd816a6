"""The backend for ``cassandra://``: results in Apache Cassandra."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("CassandraBackend",)


class CassandraBackend(StoreBackend):
    """Results in Apache Cassandra."""
