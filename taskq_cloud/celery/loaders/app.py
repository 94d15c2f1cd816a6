"""The loader of an application that sets its own configuration."""

from __future__ import annotations

from taskq_cloud.celery.loaders.base import BaseLoader

__all__ = ("AppLoader",)


class AppLoader(BaseLoader):
    """Reads the configuration from what the application names, or from the module of ``CELERY_CONFIG_MODULE``."""
