"""Brokers and result stores in servers on this machine: Redis, RabbitMQ, PostgreSQL, MongoDB and the like.

Each server is started for the demo, with its data in a temporary folder, and ends with the demo.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from demo.infrastructure.interface import Infrastructure, Machine, Meter, RunningBroker, RunningStore
from emulators.servers import SERVERS, server

Url = Callable[[str], str]
"""Makes the URL for TASKQ_BROKER or TASKQ_RESULTS from the URL of the server."""


def _meter(name: str) -> Meter:
    title = SERVERS[name].title
    return Meter(title, note=f"Calls of {title} are not counted: the call counter reads HTTP/1.1.")


def _start(machine: Machine, name: str) -> str:
    """Return the URL of a server, which the broker and the store share if they are one system."""
    if name not in machine.servers:
        emulator = machine.cleanup.enter_context(server(name))
        machine.servers[name] = emulator.url
        machine.say(f"{SERVERS[name].title} answers at {emulator.url.rpartition('@')[2].rpartition('/')[2]}")
    return machine.servers[name]


def _start_broker(machine: Machine, *, name: str, url: Url) -> RunningBroker:
    return RunningBroker(
        url=url(_start(machine, name)),
        environment={},
        uncounted={},
        prefix="",
        workers={"container": "orders", "container2": "images"},
        start_function=None,
        meter=_meter(name),
    )


def _start_results(machine: Machine, *, name: str, url: Url, contents: str, key: str) -> RunningStore:
    return RunningStore(
        url=url(_start(machine, name)),
        environment={},
        uncounted={},
        contents=contents,
        key_of=key.format,
        meter=_meter(name),
    )


def _broker(name: str, url: Url) -> Infrastructure[RunningBroker]:
    return Infrastructure(partial(_start_broker, name=name, url=url), SERVERS[name].missing)


def _results(name: str, url: Url, contents: str, key: str = "celery-task-meta-{}") -> Infrastructure[RunningStore]:
    started = partial(_start_results, name=name, url=url, contents=contents, key=key)
    return Infrastructure(started, SERVERS[name].missing)


REDIS = _broker("redis", "{}/0".format)
RABBITMQ = _broker("rabbitmq", "{}//".format)
POSTGRESQL = _broker("postgresql", "{}/postgres".format)

REDIS_RESULTS = _results("redis", "{}/0".format, "keys in Redis")
POSTGRESQL_RESULTS = _results("postgresql", "{}/postgres".format, "rows in PostgreSQL", "{}")
MARIADB_RESULTS = _results("mariadb", "db+{}/taskq".format, "rows in MariaDB", "{}")
MEMCACHED_RESULTS = _results("memcached", str, "items in memcached")
MONGODB_RESULTS = _results("mongodb", "{}/shop".format, "documents in MongoDB", "{}")
ELASTICSEARCH_RESULTS = _results("elasticsearch", "{}/shop".format, "documents in Elasticsearch")
COUCHDB_RESULTS = _results("couchdb", "{}/shop".format, "documents in CouchDB")
