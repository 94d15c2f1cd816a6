"""The servers that hold an application's messages and results, such as Redis: their addresses, without passwords.

Nothing here creates a server. Terraform opens the way to one that is there (module ``server_access``), and the doctor
looks at its settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.urls import alternatives, without_secrets
from taskq_cloud.deploy.topology.model import Address, Server, ServerQueue, ServerUse
from taskq_cloud.deploy.topology.runtimes import Served
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings

BROKER_SCHEMES: Final = frozenset({"amqp", "amqps", "postgresql", "redis", "rediss", "sentinel"})
"""The schemes of brokers that are on a server."""

RESULTS_OF_BROKER: Final = "rpc"
"""The scheme of results that RabbitMQ, which is the broker, brings to the callers."""

ON_ONE_MACHINE: Final = frozenset({"memory", "redis+socket", "sqlite"})
"""The schemes of brokers and stores that other machines can't reach."""

_SECURE_MODES: Final = frozenset({"require", "verify-ca", "verify-full"})
"""The values of libpq's ``sslmode`` that refuse a connection without TLS (PostgreSQL's documentation, "SSL Mode")."""


_PASSWORD: Final = re.compile(r'"\w*password"\s*:', re.IGNORECASE)

_ON: Final = frozenset({"1", "on", "true", "yes"})


@dataclass(frozen=True, slots=True)
class _System:
    """What a scheme says about a server.

    Args:
        kind: the system.
        port: its usual port.
        tls: whether the scheme stands for TLS.
        database: the database that a URL without a path means; None: it means none.
    """

    kind: str
    port: int
    tls: bool = False
    database: str | None = None


_SYSTEMS: Final[Mapping[str, _System]] = {
    "amqp": _System("rabbitmq", 5672, database="/"),
    "amqps": _System("rabbitmq", 5671, tls=True, database="/"),
    "arangodb": _System("arangodb", 8529),
    "cache": _System("memcached", 11211),
    "cassandra": _System("cassandra", 9042),
    "cosmosdbsql": _System("cosmosdb", 443, tls=True),
    "couchbase": _System("couchbase", 11210),
    "couchbases": _System("couchbase", 11207, tls=True),
    "couchdb": _System("couchdb", 5984),
    "db+mariadb": _System("mariadb", 3306),
    "db+mysql": _System("mariadb", 3306),
    "db+postgresql": _System("postgresql", 5432),
    "elasticsearch": _System("elasticsearch", 9200),
    "elasticsearch+https": _System("elasticsearch", 9200, tls=True),
    "memcached": _System("memcached", 11211),
    "mongodb": _System("mongodb", 27017),
    "mongodb+srv": _System("mongodb", 27017, tls=True),
    "opensearch": _System("elasticsearch", 9200),
    "opensearch+https": _System("elasticsearch", 9200, tls=True),
    "postgresql": _System("postgresql", 5432),
    "redis": _System("redis", 6379, database="0"),
    "rediss": _System("redis", 6379, tls=True, database="0"),
    "riak": _System("riak", 8098),
    "rpc": _System("rabbitmq", 5672, database="/"),
    "sentinel": _System("redis", 26379, database="0"),
}
"""The schemes of servers; a scheme's further parts name a driver, as in ``db+mysql+pymysql``."""


def is_on_one_machine(url: str) -> bool:
    """Return whether only processes on one machine can share what a URL names."""
    scheme = urlsplit(url).scheme
    return scheme in ON_ONE_MACHINE or scheme.startswith(("db+sqlite", "cache+memory"))


def is_secret(url: str) -> bool:
    """Return whether a URL is that of a server and holds a user's name, a password or a key."""
    return _system_of(url) is not None and without_secrets(url) != url


def check_urls(settings: Settings) -> None:
    """Refuse a broker or a result store that several machines can't share.

    Raises:
        ImproperlyConfigured: it is on one machine; the error says what to set.
    """
    if urlsplit(settings.broker).scheme not in ("pubsub", "sqs", *BROKER_SCHEMES):
        raise ImproperlyConfigured(
            f"the broker {without_secrets(settings.broker)} needs no deployment: set TASKQ_BROKER to"
            " sqs://region/prefix, pubsub://project/prefix or the URL of a server, and TASKQ_RESULTS, as the deployment"
            " will have them"
        )
    results = settings.results_url()
    if is_on_one_machine(results):
        raise ImproperlyConfigured(
            f"the results {without_secrets(results)} are on one machine, which functions and containers don't share:"
            " set TASKQ_RESULTS to dynamodb://table, s3://bucket or the URL of a server, or to disabled:// if nobody"
            " reads results"
        )


def has_password(options: str) -> bool:
    """Return whether options in JSON, such as ``broker_transport_options``, hold a password."""
    return _PASSWORD.search(options) is not None


def servers(settings: Settings, served: Sequence[Served]) -> tuple[Server, ...]:
    """Return the servers of an application's broker and results; a server that has both is there once.

    Args:
        settings: the application's settings.
        served: its queues.
    """
    found: list[Server] = []
    broker = _server("broker", settings.broker)
    if broker is not None and urlsplit(settings.broker).scheme in BROKER_SCHEMES:
        found.append(broker.model_copy(update={"queues": tuple(_queue(each) for each in served)}))
    results_url = settings.results_url()
    results = _server("results", results_url)
    if results is None and urlsplit(results_url).scheme == RESULTS_OF_BROKER and found:
        results = found[0].model_copy(update={"uses": (_use("results", results_url, found[0].uses[0].database),)})
    if results is not None:
        if found and (found[0].kind, found[0].addresses, found[0].tls) == (
            results.kind,
            results.addresses,
            results.tls,
        ):
            found[0] = found[0].model_copy(update={"uses": (*found[0].uses, *results.uses)})
        else:
            found.append(results)
    return tuple(found)


def _queue(served: Served) -> ServerQueue:
    return ServerQueue(queue=served.queue, tasks=served.tasks, dead_letter_queue=dead_letter_queue(served.queue))


def _use(role: Literal["broker", "results"], url: str, database: str | None) -> ServerUse:
    return ServerUse(role=role, variable=f"TASKQ_{role.upper()}", database=database, secret=is_secret(url))


def _server(role: Literal["broker", "results"], url: str) -> Server | None:
    """Return the server of a URL; None if the URL names none."""
    system = _system_of(url)
    if system is None:
        return None
    splits = [urlsplit(each) for each in alternatives(url)]
    addresses = tuple(address for split in splits for address in _addresses(split, system.port))
    query = dict(parse_qsl(splits[0].query))
    switch = query.get("tls", query.get("ssl", "")).lower()
    tls = system.tls or query.get("sslmode") in _SECURE_MODES or switch in _ON
    database = unquote(splits[0].path.removeprefix("/")) or system.database
    return Server(
        name=role, kind=system.kind, addresses=addresses, tls=tls, uses=(_use(role, url, database),), queues=()
    )


def _system_of(url: str) -> _System | None:
    first = urlsplit(alternatives(url)[0])
    if first.scheme == RESULTS_OF_BROKER and not first.netloc:
        return None
    parts = first.scheme.split("+")
    names = ("+".join(parts[:length]) for length in range(len(parts), 0, -1))
    system = next((_SYSTEMS[name] for name in names if name in _SYSTEMS), None)
    return None if is_on_one_machine(url) else system


def _addresses(url: SplitResult, usual_port: int) -> list[Address]:
    """Return the addresses of one URL, which may name several hosts."""
    hosts = url.netloc.rpartition("@")[2] or dict(parse_qsl(url.query)).get("host", "")
    found = [urlsplit(f"//{host}") for host in re.split("[,;]", hosts)]
    if url.scheme == "cassandra":  # the port of one host is that of all
        usual_port = next((each.port for each in found if each.port), usual_port)
    return [Address(host=each.hostname or "localhost", port=each.port or usual_port) for each in found]
