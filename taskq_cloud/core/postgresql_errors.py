"""The errors of a PostgreSQL database, which the broker and the result store share."""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, Unreachable

SCHEMA_REFUSED: Final = "SchemaRefused"
"""The client's code for tables that are missing and that the role may not create."""

_DENIED: Final = frozenset({"28000", "28P01", "42501", SCHEMA_REFUSED})
"""A failed login, a missing permission."""


def operational_error(about: str, error: CallError) -> OperationalError:
    """Turn a failed call into the error that says whether waiting may help.

    Args:
        about: the queue or the store, for the text.
        error: the failed call. The client's message names the server and the remedy.
    """
    kind = OperationalError
    if error.trouble is Trouble.TRANSIENT:
        kind = Unreachable
    elif error.code in _DENIED:
        kind = AccessDenied
    return kind(f"{about}: {error.message}")
