"""The option ``global_keyprefix``, by which applications share one server, as Celery's key-value backends read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.errors import ImproperlyConfigured

_SEPARATORS: Final = ":_-."
"""A prefix that ends in none of these gets an underscore, as Celery gives it one."""


def key_prefix(options: Mapping[str, Any]) -> str:
    """The beginning of all keys.

    Args:
        options: ``result_backend_transport_options``.

    Raises:
        ImproperlyConfigured: the prefix isn't a text.
    """
    given = options.get("global_keyprefix")
    if given is None or given == "":
        return ""
    if not isinstance(given, str):
        raise ImproperlyConfigured(f"result_backend_transport_options: global_keyprefix is a text, and not {given!r}")
    return given if given[-1] in _SEPARATORS else f"{given}_"
