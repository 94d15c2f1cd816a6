"""The exceptions of database drivers as ``CallError``, for the clients that use any driver: SQLAlchemy's and Django's.

The code is PostgreSQL's SQLSTATE, MySQL's error number or SQLite's error name, where the driver tells one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Trouble

MISSING_TABLE: Final = "MissingTable"
"""Our own code for tables or columns that are missing, where none may be created."""

_TRANSIENT: Final = re.compile(
    r"08...|40...|53...|55P03|57...|58...|25006|XX000"  # PostgreSQL: see ``postgresql_errors``
    # MySQL: too many connections, a shutdown, a lost connection, a deadlock, a wait for a lock, a full disk or memory,
    # a server that only reads (https://mariadb.com/kb/en/mariadb-error-codes/).
    r"|1021|1037|1038|1040|1041|1053|1158|1159|1160|1161|1203|1205|1213|1226|1290|1792|1836|1927"
    r"|20(02|03|06|13|14|55)|4031|1020"
    r"|SQLITE_(BUSY|LOCKED|FULL|IOERR|PROTOCOL).*"
)

_REMEDIES: Final = (
    (r"28P01|28000|1045|1698", "check the user and the password of the URL"),
    (r"3D000|1049", "create the database, or name another one in the URL"),
    (r"3F000", "create the schema"),
    (r"42501|1044|1142|1143|1227", "grant the user this permission"),
    (r"42P01|1146", "the table is missing"),
    (r"25006|1290|1792|1836", "the server takes no writes: name the primary"),
    (r"53300|1040|1203|1226", "the server has no connection left: raise its limit, or make the pools smaller"),
    (
        r"1406|22001",
        "a column of Celery's table is too small for the value: see the page on SQL results for the change",
    ),
    (r"1153", "raise the server's max_allowed_packet"),
    (r"1366", "the character set of a column of Celery's table can't hold the value: convert the table to utf8mb4"),
    (r"SQLITE_READONLY.*|SQLITE_CANTOPEN.*", "check the permissions of the file and its folder"),
)

_TEXTS: Final = (
    (re.compile(r"password authentication failed|no password supplied", re.IGNORECASE), "28P01"),
    (re.compile(r'role ".*" does not exist', re.IGNORECASE), "28000"),
    (re.compile(r'database ".*" does not exist', re.IGNORECASE), "3D000"),
    (re.compile(r"too many (clients|connections)|remaining connection slots", re.IGNORECASE), "53300"),
    (re.compile(r"database is locked|database table is locked", re.IGNORECASE), "SQLITE_BUSY"),
    (re.compile(r"attempt to write a readonly database", re.IGNORECASE), "SQLITE_READONLY"),
    (re.compile(r"unable to open database file", re.IGNORECASE), "SQLITE_CANTOPEN"),
)
"""What libpq and old drivers tell by nothing but a text -> the code."""


_WITHOUT_CODE: Final = frozenset({"OperationalError", "InterfaceError", "TimeoutError"})
"""The classes by which a driver that tells no code says that it could not connect, or has lost the connection, and by
which SQLAlchemy says that all connections of the pool are in use."""


def database_error(call: Call, error: Exception, place: str) -> CallError:
    """Make the error of a call that has failed.

    Args:
        call: the call.
        error: the exception of SQLAlchemy or Django, or one of the operating system.
        place: the database, without its password, for the text.
    """
    chain = list(_chain(error))
    original = chain[-1] if len(chain) == 1 else chain[1]  # the first is the wrapper's
    text = _text_of(original)
    code = _code_of(chain, text)
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.fullmatch(pattern, code)), None)
    message = f"{place}: {text}" + (f": {remedy}" if remedy else "")
    lost = isinstance(error, OSError) or getattr(error, "connection_invalidated", False) or code in _WITHOUT_CODE
    transient = _TRANSIENT.fullmatch(code) or (lost and remedy is None)
    return CallError(call, code, message, Trouble.TRANSIENT if transient else Trouble.REFUSED)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it wraps: SQLAlchemy names the driver's ``orig``, others their cause."""
    each: BaseException | None = error
    while each is not None:
        yield each
        wrapped = getattr(each, "orig", None)
        each = wrapped if isinstance(wrapped, BaseException) else each.__cause__


def _code_of(chain: list[BaseException], text: str) -> str:
    """The database's own code of an error, or the name of the exception's class."""
    for each in chain:  # MySQL's drivers; some tell an SQLSTATE, too, which says less
        args: tuple[Any, ...] = each.args
        if args and isinstance(args[0], int) and args[0]:
            return str(args[0])
    for each in chain:
        for name in ("sqlstate", "pgcode", "sqlite_errorname"):
            code = getattr(each, name, None)
            if isinstance(code, str):
                return code
    found = next((code for pattern, code in _TEXTS if pattern.search(text)), None)
    if found is not None:
        return found
    return type(chain[0]).__name__


def _text_of(original: BaseException) -> str:
    args: tuple[Any, ...] = original.args
    said = args[1] if len(args) > 1 and isinstance(args[0], int) and isinstance(args[1], str) else str(original)
    return " ".join(said.split())
