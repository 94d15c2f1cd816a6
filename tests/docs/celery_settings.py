"""Generate docs/celery-settings.md from the table of Celery's settings: ``python -m tests.docs.celery_settings``.

Each setting of Celery is on the page once, with the sentence that the package itself has for it. Settings that have no
effect for one reason share a row. Nothing is written by hand, so the page can't differ from the code.
"""

from __future__ import annotations

import sys
from typing import Final

from taskq_cloud.celery.native._setting_kinds import Kind
from taskq_cloud.celery.native.settings import describe

_HEAD: Final = """# Celery's settings

You move an application from Celery to [`taskq_cloud.celery`](celery.md), and want to know what becomes of its
settings. This page has each setting of Celery 5.7, under its new name in small letters. The old names
(`CELERY_TASK_SERIALIZER`, `BROKER_URL`) and a namespace (`namespace="CELERY"`) are read as well.

The page is generated from the code: `python -m tests.docs.celery_settings > docs/celery-settings.md`. A test compares
the two.

Settings of taskq_cloud that Celery doesn't have, such as `payloads` or `service_timeout`, can stand in the same
configuration, under their [own names](settings.md). Variables `TASKQ_...` of the environment apply to settings that
the configuration doesn't set.
"""
_TAIL: Final = """## Brokers

| `broker_url` | broker |
|---|---|
| `sqs://` | [Amazon SQS](sqs.md). Region and credentials come from the environment, a profile or a role |
| `gcpubsub://projects/<project>` or `pubsub://<project>` | [Google Pub/Sub](pubsub.md) |
| `redis://`, `rediss://`, `redis+socket://`, `sentinel://` | [Redis](redis.md#celerys-layout), in Celery's layout. `broker_transport_options = {"layout": "taskq"}` chooses this package's own |
| `amqp://`, `amqps://`, `pyamqp://`, `librabbitmq://` | [RabbitMQ](rabbitmq.md), with the queues as Celery declares them |
| `postgresql://host/database` | [PostgreSQL](postgresql.md), which Celery doesn't have |
| `sqlite:///path` | a [file](sqlite.md) on one machine; the default is a file in `./.taskq` |
| `memory://` | the memory of one process, for tests |

Several URLs of Redis or of RabbitMQ, separated by `;` or in a list, are servers that stand in for each other. Other brokers, and several URLs of
another broker, raise `ImproperlyConfigured` when the application is first used.

## Result backends

| `result_backend` | result store |
|---|---|
| `redis://`, `rediss://`, `redis+socket://`, `sentinel://`, or `redis` with the settings `redis_...` | [Redis](redis-results.md) |
| `rpc://` | [messages to the caller](rabbitmq.md#results-as-replies), over a broker on RabbitMQ |
| `db+postgresql://`, `db+mysql://`, `db+sqlite:///`, or `database` with the settings `database_...` | a database, [in Celery's tables](sql-results.md#celerys-tables) |
| `postgresql://host/database` | [PostgreSQL](sql-results.md#postgresql), in tables of this package |
| `django-db`, `django-cache` | the tables of django-celery-results, and [Django's cache](sql-results.md#djangos-stores) |
| `cache+memcached://`, `memcached://` | [memcached](key-value-results.md) |
| `file:///path`, `filesystem:///path` | [files](key-value-results.md) in a folder |
| `mongodb://`, `elasticsearch://`, `couchdb://`, `cosmosdbsql://`, `couchbase://`, `cassandra://`, `arangodb://`, `riak://` | [document databases](document-results.md) |
| `dynamodb://@<region>/<table>` | DynamoDB, with the keys of Celery's items (`key_format=celery`) |
| `s3://<bucket>/<prefix>`, or `s3` with the settings `s3_...` | Amazon S3 |
| `gs://<bucket>/<prefix>`, or `gs` with the settings `gcs_...` | Google Cloud Storage |
| `azureblockblob://`, with the settings `azureblockblob_...` | Azure Blob Storage |
| `sqlite:///path` | a [file](sqlite.md) on one machine |
| `cache+memory://` | the memory of one process, for tests |
| `disabled`, or unset | none. Unset, the variable `TASKQ_RESULTS` can name a store |

See [results.md](results.md). Other backends raise `ImproperlyConfigured`.
"""
_SECTIONS: Final = (
    (
        Kind.NATIVE,
        "Settings of the native application",
        "The native application gets the values of these settings, so that workers, functions and callers obey them.",
    ),
    (
        Kind.HONOURED,
        "Settings of Celery's interface",
        "`taskq_cloud.celery` itself does what these settings say.",
    ),
    (
        Kind.REFUSED,
        "Settings that are refused",
        "A value other than the default raises `ImproperlyConfigured`, if it would lose messages or expose a secret.",
    ),
    (
        Kind.IGNORED,
        "Settings without effect",
        "These settings can stay. A value other than Celery's default is reported by one warning in each process.",
    ),
)


def page() -> str:
    """Return the page, as Markdown."""
    return "\n".join([_HEAD, *(_section(kind, title, text) for kind, title, text in _SECTIONS), _TAIL])


def _section(kind: Kind, title: str, text: str) -> str:
    reasons: dict[str, list[str]] = {}
    for name, found, sentence in describe():
        if found == kind:
            reasons.setdefault(sentence, []).append(name)
    lines = [f"| {', '.join(f'`{name}`' for name in names)} | {sentence} |" for sentence, names in reasons.items()]
    head = "what it does" if kind in {Kind.NATIVE, Kind.HONOURED} else "reason"
    return "\n".join([f"## {title}\n", f"{text}\n", f"| setting | {head} |", "|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
