"""The errors of the result stores whose clients use any database: SQLAlchemy's and Django's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, PayloadTooLarge, StoreNotFound, Unreachable

_DENIED: Final = re.compile(
    r"28...|42501|25006|1044|1045|1142|1143|1227|1290|1698|1792|1836|SQLITE_(READONLY|CANTOPEN).*"
)
"""A refused login or permission, a server that takes no writes: their causes can be mended while a finished run waits.
The codes are PostgreSQL's, MySQL's and SQLite's: see ``clients.sql_errors``."""
_MISSING: Final = re.compile(r"3D000|3F000|42P01|1049|1146|MissingTable")
_TOO_LARGE: Final = re.compile(r"1153|1406|22001")


def sql_calls(call: Call, forget: Callable[[], None]) -> Flow[Any]:
    """Make a call, and return its answer.

    Args:
        call: the call.
        forget: is called if a table is missing: the next call prepares the tables again.

    Raises:
        OperationalError: the call failed; the kind says whether waiting may help.
    """
    try:
        return (yield call)
    except CallError as error:
        kind: type[OperationalError] = OperationalError
        if _DENIED.fullmatch(error.code):
            kind = AccessDenied
        elif _MISSING.fullmatch(error.code):
            kind = StoreNotFound
            forget()
        elif _TOO_LARGE.fullmatch(error.code):
            kind = PayloadTooLarge
        elif error.trouble is not Trouble.REFUSED:
            kind = Unreachable
        about = "the tables can't be created" if call.operation == "prepare" else "the result store can't be used"
        raise kind(f"{about}: {error.message}") from error
