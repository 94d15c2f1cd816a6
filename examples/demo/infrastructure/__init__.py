"""The brokers and result stores that the demo can run the shop on, by name.

Each is an ``Infrastructure``: the module ``aws`` has SQS, DynamoDB and S3; ``google`` has Pub/Sub and Cloud Storage;
``azure`` has Blob Storage; ``servers`` has Redis, RabbitMQ, PostgreSQL and other servers; ``sqlite`` has files. The
module ``interface`` defines what each of them provides.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from demo.infrastructure.interface import Infrastructure, Machine, RunningBroker, RunningStore, Unavailable

__all__ = [
    "BROKERS",
    "STORES",
    "Machine",
    "RunningBroker",
    "RunningStore",
    "Unavailable",
    "broker_named",
    "store_named",
]

# Modules are imported only when they are chosen, because each imports the SDK of its provider.
BROKERS: Final[Mapping[str, str]] = {
    "sqs": "aws:SQS",
    "pubsub": "google:PUBSUB",
    "redis": "servers:REDIS",
    "rabbitmq": "servers:RABBITMQ",
    "postgresql": "servers:POSTGRESQL",
    "sqlite": "sqlite:BROKER",
}
STORES: Final[Mapping[str, str]] = {
    "dynamodb": "aws:DYNAMODB",
    "s3": "aws:S3",
    "azureblob": "azure:BLOBS",
    "gs": "google:STORAGE",
    "redis": "servers:REDIS_RESULTS",
    "postgresql": "servers:POSTGRESQL_RESULTS",
    "mariadb": "servers:MARIADB_RESULTS",
    "memcached": "servers:MEMCACHED_RESULTS",
    "mongodb": "servers:MONGODB_RESULTS",
    "elasticsearch": "servers:ELASTICSEARCH_RESULTS",
    "couchdb": "servers:COUCHDB_RESULTS",
    "sqlite": "sqlite:RESULTS",
}


def broker_named(name: str) -> Infrastructure[RunningBroker]:
    """Return the infrastructure of a broker.

    Raises:
        Unavailable: the demo doesn't know this broker, or the broker's emulator or SDK is not installed.
    """
    found: Infrastructure[RunningBroker] = _named("broker", BROKERS, name)
    return found


def store_named(name: str) -> Infrastructure[RunningStore]:
    """Return the infrastructure of a result store.

    Raises:
        Unavailable: the demo doesn't know this store, or the store's emulator or SDK is not installed.
    """
    found: Infrastructure[RunningStore] = _named("result store", STORES, name)
    return found


def _named(kind: str, known: Mapping[str, str], name: str) -> Any:
    if name not in known:
        raise Unavailable(f"the demo doesn't know a {kind} {name!r}; choose one of {', '.join(known)}")
    module, _, constant = known[name].partition(":")
    try:
        found = getattr(import_module(f"{__name__}.{module}"), constant)
    except ImportError as error:
        raise Unavailable(
            f"{name}: {error}; pip install -e '.[all]' --group test installs the packages that the demo needs"
        ) from error
    reason = found.missing()
    if reason:
        raise Unavailable(f"{name}: {reason}")
    return found
