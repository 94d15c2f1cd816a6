"""Loaders read the configuration and import the modules of an application; here they are found by name."""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.celery.utils.imports import import_from_cwd, symbol_by_name

__all__ = ("get_loader_cls",)

LOADER_ALIASES: Final = {
    "app": "taskq_cloud.celery.loaders.app:AppLoader",
    "default": "taskq_cloud.celery.loaders.default:Loader",
}
"""A loader's short name -> its path."""

_CELERYS_PATHS: Final = {
    f"celery.loaders.{module}{separator}{name}": f"taskq_cloud.celery.loaders.{module}:{name}"
    for module, name in (("app", "AppLoader"), ("default", "Loader"))
    for separator in (".", ":")
}
"""A loader's path in Celery, which ``CELERY_LOADER`` may still hold -> its path here."""


def get_loader_cls(loader: Any) -> Any:
    """Return a class of loaders by its short name or its path; a class is returned as it is."""
    return symbol_by_name(loader, {**_CELERYS_PATHS, **LOADER_ALIASES}, imp=import_from_cwd)
