"""The task queues that are measured, each with its application, the command of its worker, and its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

CONCURRENCY: Final = 10
"""Tasks at a time, of every worker that has threads or an event loop."""
PROCESSES: Final = 2
"""Processes of every worker that runs tasks in processes."""


@dataclass(frozen=True)
class Contender:
    """A task queue on a broker.

    Args:
        name: the name in the tables.
        package: the package, whose version the page names.
        app: the application in ``apps``.
        worker: the command of the worker.
        broker: where its messages go: ``sqs``, ``redis``, ``rabbitmq``, ``sqlite`` or ``memory``.
        results: where its results go: ``redis``, ``dynamodb``, ``sqlite``, or nowhere.
        sends: how calls are sent: ``one`` by one, or ``many`` at once.
        query: options of the broker, as its URL has them.
        environment: more variables of its processes.
    """

    name: str
    package: str
    app: str
    worker: tuple[str, ...]
    broker: str = "sqs"
    results: str = ""
    sends: str = "one"
    query: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> frozenset[str]:
        """The names of the servers that it needs."""
        return frozenset({self.broker, self.results})


class _Places(TypedDict):
    broker: str
    results: str
    query: str


def _taskq(name: str, pool: str, concurrency: int = CONCURRENCY, **more: str) -> Contender:
    """Return taskq_cloud with a pool. A worker of ten holds as many messages as it may: twenty for each task."""
    options = ("-P", pool, "-c", str(concurrency), "--prefetch-multiplier", "20", "--loglevel", "warning")
    variables = {key: value for key, value in more.items() if key.isupper()}
    rest = {key: value for key, value in more.items() if not key.isupper()}
    if pool == "asyncio":
        variables["BENCH_COROUTINE"] = "1"
    command = ("taskq", "worker", "-A", "taskq_app", *options)
    sends = rest.pop("sends", "many")
    named = f"taskq_cloud, {name}"
    return Contender(named, "taskq-cloud", "taskq_app.py", command, sends=sends, environment=variables, **_places(rest))


def _places(more: Mapping[str, str]) -> _Places:
    """Return where messages and results go."""
    return _Places(broker=more.get("broker", "sqs"), results=more.get("results", ""), query=more.get("query", ""))


def _celery(name: str, pool: str, concurrency: int, **more: str) -> Contender:
    options = ("-P", pool, "-c", str(concurrency), "--prefetch-multiplier", "10", "-l", "WARNING")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    variables = {key: value for key, value in more.items() if key.isupper()}
    return Contender(
        f"Celery, {name}",
        "celery",
        "celery_app.py",
        ("celery", "-A", "celery_app", "worker", *options, *quiet),
        environment=variables,
        **_places(more),
    )


def _taskiq(name: str, batches: str) -> Contender:
    # One process, as the other event loops; tasks at a time are taskiq's own 100.
    options = ("--workers", "1", "--log-level", "WARNING")
    return Contender(
        f"taskiq-aio-sqs{name}",
        "taskiq-aio-sqs",
        "taskiq_app.py",
        ("taskiq", "worker", "taskiq_app:broker", *options),
        environment={"BENCH_BATCHES": batches},
        sends="many",
    )


def _dramatiq(name: str, **more: str) -> Contender:
    options = ("--processes", "1", "--threads", str(CONCURRENCY))
    return Contender(
        f"dramatiq-sqs{name}",
        "dramatiq-sqs",
        "dramatiq_app.py",
        ("dramatiq", "dramatiq_app", *options),
        **_places(more),
    )


def _huey(name: str, **more: str) -> Contender:
    # huey looks for messages every 0.1 s by default, and ever more rarely.
    options = ("-w", "1", "-k", "thread", "-d", "0.001", "-m", "0.005", "-b", "1", "-n")
    return Contender(
        f"huey{name}",
        "huey",
        "huey_app.py",
        ("huey_consumer", "huey_app.huey", *options),
        **_places({"broker": "sqlite", **more}),
    )


ON_SQS: Final = (
    _taskq("asyncio", "asyncio"),
    _taskq("threads", "threads"),
    _taskq("processes", "processes", PROCESSES),
    _taskq("asyncio, `delay`", "asyncio", sends="one"),
    _taskq("asyncio, by the SDK", "asyncio", TASKQ_AWS_LEAN_CLIENT="0"),
    _celery("threads", "threads", CONCURRENCY),
    _celery("prefork", "prefork", PROCESSES),
    _taskiq("", "0"),
    _taskiq(", batches", "1"),
    _dramatiq(""),
)
RESULTS: Final = (
    _taskq("no results, 10 at a time", "asyncio"),
    _taskq("DynamoDB, 10 at a time", "asyncio", results="dynamodb"),
    _taskq("no results, 50 at a time", "asyncio", 50),
    _taskq("DynamoDB, 50 at a time", "asyncio", 50, results="dynamodb"),
)
EMBEDDED: Final = (
    _taskq("SQLite, asyncio", "asyncio", broker="sqlite"),
    _taskq("SQLite, solo", "solo", 1, broker="sqlite"),
    _taskq("SQLite, processes", "processes", PROCESSES, broker="sqlite"),
    _taskq("SQLite, asyncio, results", "asyncio", broker="sqlite", results="sqlite"),
    _taskq("SQLite, solo, results", "solo", 1, broker="sqlite", results="sqlite"),
    _taskq("SQLite, processes, results", "processes", PROCESSES, broker="sqlite", results="sqlite"),
    _huey(", SQLite"),
    _huey(", SQLite, results", results="sqlite"),
    _celery("Redis, threads", "threads", CONCURRENCY, broker="redis"),
    _celery("Redis, prefork", "prefork", PROCESSES, broker="redis"),
    _celery("Redis, threads, results", "threads", CONCURRENCY, broker="redis", results="redis"),
)
ROUND_TRIPS: Final = (
    _taskq("memory", "asyncio", broker="memory", results="memory"),
    _taskq("SQLite", "asyncio", broker="sqlite", results="sqlite"),
    _taskq("SQS, DynamoDB", "asyncio", results="dynamodb"),
    _celery("SQS, Redis", "threads", CONCURRENCY, results="redis"),
    _celery("Redis, Redis", "threads", CONCURRENCY, broker="redis", results="redis"),
    _dramatiq(", Redis", results="redis"),
    _huey(", SQLite", results="sqlite"),
)


def _on_servers(results: str) -> Iterator[Contender]:
    """Yield each pool of taskq_cloud and, after it, the one of Celery that is of its kind."""
    more = ", results" if results else ""

    def own(name: str, broker: str, pool: str, query: str = "") -> Contender:
        concurrency = PROCESSES if pool == "processes" else CONCURRENCY
        named = f"{name}, {pool}{more}"
        return _taskq(named, pool, concurrency, broker=broker, query=query, results=results, sends="one")

    def rival(name: str, broker: str, pool: str, **variables: str) -> Contender:
        concurrency = PROCESSES if pool == "prefork" else CONCURRENCY
        return _celery(f"{name}, {pool}{more}", pool, concurrency, broker=broker, results=results, **variables)

    for ours, theirs in (("threads", "threads"), ("processes", "prefork")):
        for name, broker in (("Redis", "redis"), ("RabbitMQ", "rabbitmq")):
            yield own(name, broker, ours)
            yield rival(name, broker, theirs)
        yield own("Redis in Celery's layout", "redis", ours, "layout=celery")
    yield own("RabbitMQ without confirms", "rabbitmq", "threads", "confirm_publish=false")
    yield rival("RabbitMQ with confirms", "rabbitmq", "threads", BENCH_CONFIRMS="1")


ON_SERVERS: Final = (*_on_servers(""), *_on_servers("redis"))
