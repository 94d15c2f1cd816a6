"""The adapters that a package has: those of the cloud services, and others if an extra of the library names them.

``taskq package --extra redis`` puts the modules for Redis into the package. Without it they are left out: most
functions speak to cloud services only, and the other adapters are a third of the library. SQLite is always there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_DOCUMENTS: Final = (
    "stores/results/_appended_joins.py",
    "stores/results/_conditional_documents.py",
    "stores/results/_document*.py",
    "stores/results/_embedded_fields.py",
    "stores/results/_keys.py",
)
_HTTP: Final = (*_DOCUMENTS, "stores/results/_http_documents.py", "clients/http.py")
_SQL: Final = (
    "stores/results/_sql_celery_rows.py",
    "stores/results/_sql_errors.py",
    "stores/results/_sql_prepared.py",
    "stores/results/_sql_tables.py",
    "clients/sql_errors.py",
    "clients/sqlalchemy.py",
    "core/servers/sql_*.py",
)
_GREENLETS: Final = ("pools/greenlet*.py", "pools/hubs.py")

ADAPTERS: Final = {
    "arangodb": (*_HTTP, "stores/results/arangodb.py"),
    "cassandra": (*_DOCUMENTS, "stores/results/*cassandra*.py", "clients/cassandra*.py"),
    "cosmosdb": (*_DOCUMENTS, "stores/results/cosmosdb.py", "clients/cosmosdb.py"),
    "couchbase": (*_DOCUMENTS, "stores/results/couchbase.py", "clients/couchbase.py"),
    "couchdb": (*_HTTP, "stores/results/couchdb.py"),
    "django": (*_SQL, "stores/results/django_*.py", "clients/django*.py"),
    "elasticsearch": (*_HTTP, "stores/results/elasticsearch.py"),
    "eventlet": _GREENLETS,
    "files": (*_DOCUMENTS, "stores/results/filesystem.py", "clients/filesystem*.py"),
    "gevent": _GREENLETS,
    "memcached": (*_DOCUMENTS, "stores/results/memcached.py", "clients/memcached.py"),
    "mongodb": (*_DOCUMENTS, "stores/results/*mongodb*.py", "clients/mongodb.py"),
    "mysql": (*_SQL, "stores/results/sqlalchemy.py"),
    "postgresql": (
        *_SQL,
        "brokers/*postgresql*.py",
        "calling/transaction.py",
        "clients/callers_connections.py",
        "clients/postgresql*.py",
        "core/servers/postgresql.py",
        "stores/results/postgresql.py",
    ),
    "rabbitmq": (
        "brokers/*rabbitmq*.py",
        "clients/rabbitmq*.py",
        "core/servers/rabbitmq.py",
        "stores/results/rpc.py",
    ),
    "redis": (
        "brokers/_redis*.py",
        "brokers/redis.py",
        "clients/redis*.py",
        "core/servers/redis.py",
        "stores/results/*redis*.py",
        "stores/results/_keys.py",
    ),
    "riak": (*_HTTP, "stores/results/riak.py"),
    "sqlalchemy": (*_SQL, "stores/results/sqlalchemy.py"),
    "webhooks": ("contrib",),
}
"""Extra -> what of the library it needs: paths, or patterns of them."""


def left_out_adapters(library: Path, extras: Collection[str]) -> Iterator[str]:
    """The paths of the modules for which none of the extras asks.

    Args:
        library: the library's folder.
        extras: the extras that the package has.
    """
    kept = {path for extra in extras for pattern in ADAPTERS.get(extra, ()) for path in library.glob(pattern)}
    for pattern in sorted({pattern for patterns in ADAPTERS.values() for pattern in patterns}):
        for path in sorted(library.glob(pattern)):
            if path not in kept:
                yield str(path.relative_to(library))
