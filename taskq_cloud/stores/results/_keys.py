"""The keys of stores that keep results under Celery's keys: a common prefix, and ids that can't be part of a key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.errors import ImproperlyConfigured

_SEPARATORS: Final = ":_-."
"""A prefix that ends in none of these gets an underscore, as Celery gives it one."""


def key_prefix(options: Mapping[str, Any]) -> str:
    """The beginning of all keys: the option ``global_keyprefix``, by which applications share a server.

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


def key_of(beginning: str, name: str, *, most_bytes: int, fits: bool) -> str:
    """The key of a name. A name that can't be part of a key, with which Celery fails, is there by its digest.

    Args:
        beginning: the beginning of the key.
        name: the name: a task's id, or what a lock or a rate is for.
        most_bytes: the longest key.
        fits: whether a key may have the characters of the name.
    """
    content = name.encode(errors="surrogatepass")
    if fits and len(beginning.encode()) + len(content) <= most_bytes:
        return f"{beginning}{name}"
    return f"{beginning}sha256-{hashlib.sha256(content).hexdigest()}"
