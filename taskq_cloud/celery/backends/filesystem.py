"""The backend for ``file://``: results in a folder of files."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("FilesystemBackend",)


class FilesystemBackend(StoreBackend):
    """Results in a folder of files."""
