"""The errors of a database file, which the SQLite broker and the SQLite result store share."""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, Unreachable

_DENIED: Final = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "PermissionError")


def operational_error(about: str, error: CallError) -> OperationalError:
    """Turn a failed call into the error that says whether waiting may help.

    A locked database, a full disk and a missing permission may pass, so a finished run waits for their end.

    Args:
        about: the queue or the store, for the text.
        error: the failed call. The client's message names the file and the remedy.
    """
    kind = OperationalError
    if error.trouble is Trouble.TRANSIENT:
        kind = Unreachable
    elif error.code.startswith(_DENIED):
        kind = AccessDenied
    return kind(f"{about}: {error.message}")
