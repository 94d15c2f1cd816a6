"""Signatures of Celery's own classes, in projects whose modules move from Celery one after the other."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery.canvas import kinds
from taskq_cloud.celery.canvas.building import signature


def adopted(value: Any, app: Any = None) -> Any:
    """Make a signature of this package of another package's; every other value is returned as it is."""
    return signature(value, app=app) if kinds.is_foreign(value) else value


def returned(own: Any, other: Any) -> Any:
    """Make a signature of another package's classes.

    Args:
        own: a signature of this package.
        other: a signature of the other package.
    """
    base = next(kind for kind in reversed(type(other).__mro__) if hasattr(kind, "from_dict") and hasattr(kind, "TYPES"))
    return base.from_dict(dict(own), app=getattr(other, "_app", None))
