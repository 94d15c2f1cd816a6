"""The backend for ``elasticsearch://``: results in Elasticsearch or OpenSearch."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("ElasticsearchBackend",)


class ElasticsearchBackend(StoreBackend):
    """Results in Elasticsearch or OpenSearch."""
