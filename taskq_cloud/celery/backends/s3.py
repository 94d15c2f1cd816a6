"""The backend for ``s3://``: results in a bucket of Amazon S3."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("S3Backend",)


class S3Backend(StoreBackend):
    """Results in a bucket of Amazon S3."""
