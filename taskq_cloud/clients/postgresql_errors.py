"""PostgreSQL's errors as ``CallError``: what has happened, on which server, whether it may pass, and the remedy.

A code is PostgreSQL's SQLSTATE (its documentation, "PostgreSQL Error Codes"), where there is one. libpq tells nothing
but a text of a connection that could not be made, so that its text is all that tells a wrong password from a server
that is down.
"""

from __future__ import annotations

import re
from typing import Final

import psycopg

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.servers.postgresql import SCHEMA_REFUSED, place_of

NO_ANSWER: Final = "NoAnswer"
"""Our own code for a call whose answer did not come in time."""

NO_CONNECTION: Final = "NoConnection"
"""Our own code for a connection that could not be made, or was lost."""

_TRANSIENT: Final = re.compile(r"08...|40...|53...|55P03|57...|58...|25006|XX000")
"""Broken connections, conflicts with other transactions, a lack of memory, disk or connections, locks that were not
given, a shutdown or a cancelled statement, errors of the disk, a server that has become a replica."""

_HINTS: Final = {
    "25006": "the server is a replica, or takes no writes: name the primary, or all hosts in one URL",
    "42501": "grant the role this permission",
    "42P01": "a table is missing",
    "53100": "the server's disk is full: free some space",
    "53200": "the server has too little memory",
    "53300": "the server has no connection left: raise max_connections, or put a pooler in front",
    "57014": "statement_timeout, or somebody, has ended the statement",
}
"""SQLSTATE -> the remedy."""

_REFUSED_CONNECTIONS: Final = (
    (
        re.compile(r"no password supplied|no pg_hba\.conf entry|authentication", re.IGNORECASE),
        "28000",
        Trouble.REFUSED,
        "check the user and the password of the URL, and the server's pg_hba.conf",
    ),
    (
        re.compile(r'role ".*" (does not exist|is not permitted)|permission denied', re.IGNORECASE),
        "28000",
        Trouble.REFUSED,
        "create the role with CREATE ROLE ... LOGIN, and grant it CONNECT",
    ),
    (
        re.compile(r'database ".*" does not exist', re.IGNORECASE),
        "3D000",
        Trouble.REFUSED,
        "create it with CREATE DATABASE, or name another one in the URL",
    ),
    (
        re.compile(r"session is read-only|server is in hot standby|not allow new connections", re.IGNORECASE),
        "25006",
        Trouble.TRANSIENT,
        _HINTS["25006"],
    ),
    (
        re.compile(r"too many (clients|connections)|remaining connection slots", re.IGNORECASE),
        "53300",
        Trouble.TRANSIENT,
        _HINTS["53300"],
    ),
    (
        re.compile(
            r"certificate|SSL (error|connection is required)|not support SSL|invalid (ssl|target)", re.IGNORECASE
        ),
        "08001",
        Trouble.REFUSED,
        "check the URL's parameters",
    ),
)
"""What the text of a failed connection says -> code, trouble, remedy."""


class NoAnswerError(psycopg.OperationalError):
    """The server has not answered in time."""


def connection_error(call: Call, error: Exception, conninfo: str) -> CallError:
    """Make the error of a call for which no connection could be made.

    Args:
        call: the call.
        error: psycopg's error.
        conninfo: the URL of the server.
    """
    text = " ".join(str(error).split())
    code, trouble, hint = NO_CONNECTION, Trouble.TRANSIENT, "check that the server runs and can be reached from here"
    if not isinstance(error, psycopg.OperationalError):  # libpq has refused a parameter
        code, trouble, hint = "08001", Trouble.REFUSED, "check the URL's parameters"
    for pattern, found, refused, remedy in _REFUSED_CONNECTIONS:
        if pattern.search(text):
            code, trouble, hint = found, refused, remedy
            break
    return CallError(call, code, f"PostgreSQL at {place_of(conninfo)}: {text}: {hint}", trouble)


def call_error(call: Call, error: Exception, conninfo: str) -> CallError:
    """Make the error of a call that has failed on its connection.

    Args:
        call: the call.
        error: psycopg's error, or one of the operating system.
        conninfo: the URL of the server.
    """
    place = place_of(conninfo)
    if not isinstance(error, psycopg.Error):
        return CallError(call, NO_CONNECTION, f"PostgreSQL at {place}: {error}", Trouble.TRANSIENT)
    state = error.sqlstate
    text = " ".join((error.diag.message_primary or str(error)).split())
    if isinstance(error, NoAnswerError):
        return CallError(call, NO_ANSWER, f"PostgreSQL at {place}: {text}", Trouble.TRANSIENT)
    if state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        message = f"PostgreSQL at {place}: the connection was lost: {text}"
        return CallError(call, NO_CONNECTION, message, Trouble.TRANSIENT)
    code = state or type(error).__name__
    hint = _HINTS.get(code)
    trouble = Trouble.TRANSIENT if _TRANSIENT.fullmatch(code) else Trouble.REFUSED
    return CallError(call, code, f"PostgreSQL at {place}: {text}" + (f": {hint}" if hint else ""), trouble)


def schema_refused(call: Call, error: psycopg.Error, conninfo: str) -> CallError:
    """Make the error for missing tables that the role may not create."""
    message = (
        f"PostgreSQL at {place_of(conninfo)}: the tables are missing or old, and this role may not create them: "
        f"{error.diag.message_primary}: let their owner run the statements that taskq provision --sql prints"
    )
    return CallError(call, SCHEMA_REFUSED, message, Trouble.REFUSED)
