"""The backend for ``gs://``: results in a bucket of Google Cloud Storage."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("GCSBackend",)


class GCSBackend(StoreBackend):
    """Results in a bucket of Google Cloud Storage."""
