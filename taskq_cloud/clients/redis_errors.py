"""The meaning of a Redis server's errors for a retry, and the remedy that their messages add."""

from __future__ import annotations

import ssl
from typing import Final

from taskq_cloud.clients.redis_protocol import ErrorReply, NotRedisError
from taskq_cloud.core.flows import Call, CallError, Trouble

FAILURES: Final = (OSError, NotRedisError, UnicodeError)
"""The exceptions that mean a broken connection. UnicodeError: a host's name can't be looked up."""

CLOSED_BY_SERVER: Final = "the server closed the connection"
NO_ANSWER: Final = "the server gave no answer in time"

READ_ONLY: Final = "READONLY"
DEMOTED: Final = (READ_ONLY, "UNBLOCKED")
"""The codes of a server that has become a replica, the second one of a blocking command that had begun before."""

_PASSING: Final = {
    READ_ONLY: "the server is a read-only replica: name the primary, or all servers separated by ;",
    "UNBLOCKED": "the server has become a replica",
    "LOADING": "the server is reading its data from the disk",
    "MASTERDOWN": "the server is a replica that has lost its primary",
    "NOREPLICAS": "too few replicas are connected to the primary (min-replicas-to-write)",
    "OOM": "the server's memory is full: raise maxmemory, or let workers empty the queues; nothing was stored",
    "MISCONF": "the server can't write to its disk",
    "BUSY": "a script keeps the server busy",
    "TRYAGAIN": "the server asks to try again",
    "CLUSTERDOWN": "the cluster is down",
}
"""Codes of errors that may pass by themselves or with an operator's help, and what they mean."""

_REMEDIES: Final = {
    "WRONGPASS": "check the user and the password in the URL",
    "NOAUTH": "the server asks for a password: write redis://:password@host:6379/0",
    "NOPERM": "give the user of the URL this permission (ACL SETUSER)",
    "MOVED": "the server is a node of a cluster, which isn't supported: use a server or a primary with replicas",
    "CROSSSLOT": "the server is a node of a cluster, which isn't supported: use a server or a primary with replicas",
}

_TOO_MANY_CLIENTS: Final = "max number of clients"
_UNPROTECTED: Final = "without any password configured"
_NO_SUCH_DATABASE: Final = ("DB index is out of range", "invalid DB index")


def reply_error(call: Call, server: str, reply: ErrorReply) -> CallError:
    """The error for an answer of the server.

    Args:
        call: the call.
        server: the server's URL without its password.
        reply: the answer.
    """
    code, message = reply.code, reply.message
    trouble = Trouble.TRANSIENT if code in _PASSING else Trouble.REFUSED
    remedy = _PASSING.get(code) or _REMEDIES.get(code)
    if _TOO_MANY_CLIENTS in message:
        trouble, remedy = Trouble.TRANSIENT, "raise maxclients, or run fewer processes"
    elif _UNPROTECTED in message:
        code, remedy = "WRONGPASS", "the server has no password: take it out of the URL, or set it (requirepass)"
    elif any(text in message for text in _NO_SUCH_DATABASE):
        remedy = "the URL names a database that the server doesn't have: see its setting databases"
    text = f"{server}: {message}" + (f" ({remedy})" if remedy else "")
    return CallError(call, code, text, trouble)


def connection_error(call: Call, server: str, error: Exception) -> CallError:
    """The error for a connection that could not be opened, or that broke."""
    trouble, remedy = Trouble.TRANSIENT, ""
    if isinstance(error, ssl.SSLCertVerificationError):
        trouble, remedy = Trouble.REFUSED, ": name the authority's certificate with ssl_ca_certs"
    elif isinstance(error, NotRedisError):
        remedy = ": check the port, and whether it needs rediss://"
    elif isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(error):
        trouble, remedy = Trouble.REFUSED, ": name your own certificate with ssl_certfile and ssl_keyfile"
    elif isinstance(error, ssl.SSLEOFError | ConnectionResetError) and server.startswith("rediss:"):
        # The end of a connection can overtake the alert that says so.
        remedy = ": if the server asks for a certificate, name your own certificate with ssl_certfile and ssl_keyfile"
    elif isinstance(error, ssl.SSLError):
        remedy = ": is this the port for TLS?"
    cause = str(error) or "no answer in time" if isinstance(error, TimeoutError) else str(error)
    name = type(error).__name__
    return CallError(call, name, f"{server}: {cause or name}{remedy}", trouble)
