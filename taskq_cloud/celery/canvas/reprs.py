"""The texts that show signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from taskq_cloud.celery.utils._encoding import safe_repr


def reprcall(name: Any, args: Iterable[Any] | None = (), kwargs: Mapping[str, Any] | None = None) -> str:
    """Show a call: ``name(1, 2, key=3)``."""
    shown = [*map(safe_repr, args or ()), *(f"{key}={safe_repr(value)}" for key, value in (kwargs or {}).items())]
    return f"{name}({', '.join(shown)})"
