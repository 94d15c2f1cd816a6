"""What the broker and the result store on PostgreSQL share: which service a URL names, and the errors of a database.

A URL is libpq's, ``postgresql://user:password@host1,host2:5433/database?sslmode=require``, with options of an adapter's
own beside libpq's parameters (PostgreSQL's documentation, "Connection URIs"). Several URLs of one database are one URL
with several hosts. Nothing is imported here that opens a connection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode

from taskq_cloud.core.flows import CallError, Flow, Trouble
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.ports import Broker, Service
from taskq_cloud.core.urls import shown, without_secrets
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, OperationalError, Unreachable

PGBOUNCER: Final = "pgbouncer"
"""The option that says that a pooler stands between, whose transactions share connections: nothing may be prepared for
later, and nothing can be listened to."""

CONNECTIONS: Final = "connections"
"""The option that says how many connections a process may open for its calls."""

MOST_CONNECTIONS: Final = 4
"""A connection is a process of the server, and a call takes a millisecond of it."""

_SENSIBLE_CONNECTIONS: Final = 1000

_LIBPQ: Final = frozenset(
    {
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "gsslib",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "load_balance_hosts",
        "options",
        "passfile",
        "password",
        "port",
        "require_auth",
        "requirepeer",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcertmode",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
        "user",
    }
)
"""PostgreSQL 18's documentation, "Parameter Key Words", without those that make no sense for a task queue."""

SCHEMA_REFUSED: Final = "SchemaRefused"
"""The client's code for tables that are missing and that the role may not create."""

_DENIED: Final = frozenset({"28000", "28P01", "42501", SCHEMA_REFUSED})
"""A failed login, a missing permission."""

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class Database:
    """A database that URLs name.

    Args:
        name: the name of its service, which is the same for equal URLs and has no password.
        service: the service.
        query: the adapter's own options.
    """

    name: str
    service: Service
    query: dict[str, str]


@runtime_checkable
class HasTables(Protocol):
    """A broker or a store whose tables are created at their first use, if the role of its URL may do that."""

    @property
    def schema(self) -> tuple[str, str]:
        """The query that tells whether the tables are there, and the statements that create them, for the client."""
        ...

    @property
    def script(self) -> str:
        """The statements that create the tables. They change nothing that is there."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The database that a broker's messages are in.

    Args:
        identity: the row that ``SendsInTransactions.identity`` finds on any connection to this database, and no other.
        schema: the schema that has the broker's tables.
    """

    identity: Mapping[str, Any]
    schema: str


@runtime_checkable
class SendsInTransactions(Protocol):
    """A broker whose messages are rows of a database, so that a transaction of the caller's own can send them."""

    @property
    def identity(self) -> str:
        """The query that identifies the database of a connection."""
        ...

    def place(self) -> Flow[Place]:
        """Find the broker's database, and create its tables if they are missing."""
        ...

    def within(self, service: str, place: Place, /) -> Broker:
        """Make a broker whose calls are those of a service that stands for the caller's connection."""
        ...


def database_of(urls: Sequence[SplitResult], known: Collection[str] = ()) -> Database:
    """Read the URLs of one database.

    Args:
        urls: one URL, or several that differ only in their hosts: the first that takes writes is used.
        known: the names of the adapter's own options.

    Raises:
        ImproperlyConfigured: an option is unknown or has an impossible value, or the URLs differ in more than hosts.
    """
    first = urls[0]
    credentials, _, _ = first.netloc.rpartition("@")
    hosts: list[str] = []
    for url in urls:
        others, _, host = url.netloc.rpartition("@")
        if (others, url.path, url.query) != (credentials, first.path, first.query):
            raise ImproperlyConfigured(
                f"{shown(first)} and {shown(url)} are alternatives, so they must differ in nothing but their hosts"
            )
        hosts.append(host)
    query = dict(parse_qsl(first.query, keep_blank_values=True))
    own = {name: query.pop(name) for name in (*known, PGBOUNCER, CONNECTIONS) if name in query}
    unknown = sorted(query.keys() - _LIBPQ)
    if unknown:
        names = ", ".join(sorted({*known, PGBOUNCER, CONNECTIONS}))
        raise ImproperlyConfigured(
            f"unknown option {unknown[0]!r} in {shown(first)}; known: {names}, and the parameters of libpq"
        )
    pooled = _flag(first, PGBOUNCER, own.pop(PGBOUNCER, ""))
    connections = _connections(first, own.pop(CONNECTIONS, str(MOST_CONNECTIONS)))
    place = f"{','.join(hosts)}{first.path}"
    user = unquote(credentials.partition(":")[0])
    name = f"postgresql:{user}{'@' if user else ''}{without_secrets(place + _written(query))}"
    if not pooled or len(hosts) > 1:
        query.setdefault("target_session_attrs", "read-write")
    conninfo = f"postgresql://{credentials}{'@' if credentials else ''}{place}{_written(query)}"
    options = (("conninfo", conninfo), (PGBOUNCER, pooled), (CONNECTIONS, connections))
    return Database(name, Service("postgresql", options), own)


def place_of(conninfo: str) -> str:
    """The hosts and the database of a libpq URL, for errors, without a user and without parameters."""
    return without_secrets(conninfo).removeprefix("postgresql://").removeprefix("***@").partition("?")[0]


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


def _written(query: dict[str, str]) -> str:
    return f"?{urlencode(query, quote_via=quote)}" if query else ""


def _flag(url: SplitResult, name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value} in {shown(url)} must be true or false")


def _connections(url: SplitResult, value: str) -> int:
    if value.isdecimal() and 0 < int(value) <= _SENSIBLE_CONNECTIONS:
        return int(value)
    raise ImproperlyConfigured(
        f"{CONNECTIONS}={value} in {shown(url)} must be a number from 1 to {_SENSIBLE_CONNECTIONS}"
    )
