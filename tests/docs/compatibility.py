"""Generate docs/compatibility.md from the adapters' capabilities: ``python -m tests.docs.compatibility``.

Each capability has its description from the docstring of its class. Each adapter was opened by a URL and asked for its
capabilities. Nothing is written by hand, so the tables can't differ from the code.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.core.model.capabilities import BrokerCapabilities, StoreCapabilities
from taskq_cloud.stores.results.registry import store_from_url

BROKER_URLS: Final = {
    "Amazon SQS": "sqs://eu-west-1/",
    "Google Pub/Sub": "pubsub://project/",
    "Redis": "redis://host/0",
    "Redis, Celery's layout": "redis://host/0?layout=celery",
    "RabbitMQ": "amqp://host/",
    "RabbitMQ, quorum queues": "amqp://host/?queue_type=quorum",
    "PostgreSQL": "postgresql://host/database",
    "SQLite": "sqlite:///.taskq/broker.db",
    "memory": "memory://",
}
STORE_URLS: Final = {
    "DynamoDB": "dynamodb://results",
    "S3": "s3://bucket",
    "Azure Blob": "azureblob://container?account_url=https://account.blob.core.windows.net",
    "Cloud Storage": "gs://bucket",
    "Redis": "redis://host/0",
    "memcached": "memcached://host",
    "PostgreSQL": "postgresql://host/database",
    "SQLAlchemy": "db+postgresql://host/database",
    "Django's ORM": "django-db://",
    "Django's cache": "django-cache://",
    "RabbitMQ, reply queues": "rpc://host/",
    "MongoDB": "mongodb://host/database",
    "Elasticsearch, OpenSearch": "elasticsearch://host/index",
    "CouchDB": "couchdb://host/database",
    "Couchbase": "couchbase://user:password@host/bucket",
    "Cassandra": "cassandra://host/keyspace",
    "ArangoDB": "arangodb://host/database/collection",
    "Cosmos DB": "cosmosdbsql://:key@account.documents.azure.com/database/container",
    "Riak": "riak://host/bucket",
    "files": "file:///var/results",
    "SQLite": "sqlite:///.taskq/results.db",
    "memory": "memory://",
    "disabled": "disabled://",
}
_UNITS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (10**6, "MB"), (1, "B"))
_LARGEST_NUMBER: Final = 2**53
_HIDDEN: Final = frozenset({"beyond_parking"})
_HEAD: Final = """# What each broker and store can do

Every adapter declares its capabilities, and this page is generated from these declarations:
`python -m tests.docs.compatibility > docs/compatibility.md`. A test compares the two. Celery's URLs for these
brokers and stores are on the page about [Celery's settings](celery-settings.md#brokers).
"""


def page() -> str:
    """The page, as Markdown."""
    brokers = {name: broker_from_url(url, {}).capabilities for name, url in BROKER_URLS.items()}
    stores = {name: store_from_url(url, {}).capabilities for name, url in STORE_URLS.items()}
    parts = (
        _HEAD,
        "## Brokers\n",
        _table(BrokerCapabilities, brokers),
        "## Result stores\n",
        _list(StoreCapabilities),
        _rows(StoreCapabilities, stores),
    )
    return "\n".join(parts)


def _table(kind: type[Any], columns: Mapping[str, Any]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    descriptions = _descriptions(kind)
    for field in fields(kind):
        if field.name in _HIDDEN:
            continue
        cells = [_shown(field.name, getattr(column, field.name)) for column in columns.values()]
        lines.append(f"| `{field.name}`: {descriptions[field.name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _list(kind: type[Any]) -> str:
    """The capabilities with their descriptions, for a table that has no room for them."""
    descriptions = _descriptions(kind)
    return "\n".join(f"- `{field.name}`: {descriptions[field.name]}" for field in fields(kind)) + "\n"


def _rows(kind: type[Any], adapters: Mapping[str, Any]) -> str:
    """A table with a row for each adapter."""
    names = [field.name for field in fields(kind)]
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |", "|---|" + "---|" * len(names)]
    for title, capabilities in adapters.items():
        cells = [_shown(name, getattr(capabilities, name)) for name in names]
        lines.append(f"| {title}, `{STORE_URLS[title].partition('://')[0]}://` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _descriptions(kind: type[Any]) -> dict[str, str]:
    """The descriptions in a docstring's ``Args``, each on one line, by name."""
    text = inspect.getdoc(kind) or ""
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", description).replace("``", "`").rstrip(".") for name, description in entries}


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == math.inf or value > _LARGEST_NUMBER:
        return "no limit"
    if name.endswith("_bytes"):
        return next(f"{value // size:,} {unit}" for size, unit in _UNITS if value % size == 0 and (value or size == 1))
    if name.endswith("_seconds"):
        return f"{value:,g} s"
    return f"{value:,}"


if __name__ == "__main__":
    sys.stdout.write(page())
