"""Finds the class of a result backend by its name or its URL."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.exceptions import ImproperlyConfigured, reraise
from taskq_cloud.celery.utils.imports import symbol_by_name
from taskq_cloud.stores.results.registry import STORES

__all__ = ("by_name", "by_url")

UNKNOWN_BACKEND: Final = """
Unknown result backend: {0!r}.  Did you spell that correctly? ({1!r})
"""

_STORE: Final = "taskq_cloud.celery.backends.store:StoreBackend"

BACKEND_ALIASES: Final[Mapping[str, str]] = {
    "arangodb": "taskq_cloud.celery.backends.arangodb:ArangoDbBackend",
    "azureblob": "taskq_cloud.celery.backends.azureblockblob:AzureBlockBlobBackend",
    "azureblockblob": "taskq_cloud.celery.backends.azureblockblob:AzureBlockBlobBackend",
    "cache": "taskq_cloud.celery.backends.cache:CacheBackend",
    "cassandra": "taskq_cloud.celery.backends.cassandra:CassandraBackend",
    "cosmosdbsql": "taskq_cloud.celery.backends.cosmosdbsql:CosmosDBSQLBackend",
    "couchbase": "taskq_cloud.celery.backends.couchbase:CouchbaseBackend",
    "couchdb": "taskq_cloud.celery.backends.couchdb:CouchBackend",
    "database": "taskq_cloud.celery.backends.database:DatabaseBackend",
    "db": "taskq_cloud.celery.backends.database:DatabaseBackend",
    "disabled": "taskq_cloud.celery.backends.base:DisabledBackend",
    "dynamodb": "taskq_cloud.celery.backends.dynamodb:DynamoDBBackend",
    "elasticsearch": "taskq_cloud.celery.backends.elasticsearch:ElasticsearchBackend",
    "file": "taskq_cloud.celery.backends.filesystem:FilesystemBackend",
    "filesystem": "taskq_cloud.celery.backends.filesystem:FilesystemBackend",
    "gs": "taskq_cloud.celery.backends.gcs:GCSBackend",
    "memory": "taskq_cloud.celery.backends.cache:CacheBackend",
    "mongodb": "taskq_cloud.celery.backends.mongodb:MongoBackend",
    "redis": "taskq_cloud.celery.backends.redis:RedisBackend",
    "rediss": "taskq_cloud.celery.backends.redis:RedisBackend",
    "rpc": "taskq_cloud.celery.backends.rpc:RPCBackend",
    "s3": "taskq_cloud.celery.backends.s3:S3Backend",
    "sentinel": "taskq_cloud.celery.backends.redis:SentinelBackend",
    "sqlite": _STORE,
}
"""The backends that native stores stand behind."""

_SHARED: Final = {"taskq": _STORE}
"""The backend by which Celery's own workers use a native store. Its entry point names a class for Celery."""

_NOT_SUPPORTED: Final = frozenset({"consul"})
"""Celery's other backends."""


def by_name(backend: Any = None, loader: Any = None, extension_namespace: str = "celery.result_backends") -> Any:
    """Return the class of a backend.

    Args:
        backend: its name, the path of a class, or a class; None: ``"disabled"``.
        loader: the application's loader, which may know further names; None: that of the current application.
        extension_namespace: the entry points in which other packages name their backends.

    Raises:
        ImproperlyConfigured: this isn't a backend, or it is one that Celery has and this package doesn't.
        ImportError: there is no module of this name.
    """
    backend = backend or "disabled"
    aliases = _aliases(current_app.loader if loader is None else loader, extension_namespace)
    if isinstance(backend, str) and backend in _NOT_SUPPORTED and backend not in aliases:
        known = f"taskq keeps results in {', '.join(sorted(BACKEND_ALIASES))}"
        raise ImproperlyConfigured(UNKNOWN_BACKEND.strip().format(backend, known))
    try:
        found = symbol_by_name(backend, aliases)
    except ValueError as error:
        wrong = ImproperlyConfigured(UNKNOWN_BACKEND.strip().format(backend, error))
        reraise(ImproperlyConfigured, wrong, sys.exc_info()[2])
    if isinstance(found, types.ModuleType):
        raise ImproperlyConfigured(UNKNOWN_BACKEND.strip().format(backend, "is a Python module, not a backend class."))
    if isinstance(found, type) and any(base.__module__.startswith("celery.") for base in found.__mro__):
        raise ImproperlyConfigured(
            f"the result backend {found.__module__}.{found.__qualname__} is derived from Celery's own classes, which "
            "need Celery's application: derive it from taskq_cloud.celery.backends.base.BaseBackend"
        )
    return found


def _aliases(loader: Any, namespace: str) -> dict[str, str]:
    stores = {name: _STORE for name in STORES.known if name not in BACKEND_ALIASES}
    stores |= {entry.name: _STORE for entry in entry_points(group=STORES.group)}
    others = {entry.name: entry.value for entry in entry_points(group=namespace)}
    return {**stores, **BACKEND_ALIASES, **loader.override_backends, **others, **_SHARED}


def by_url(backend: Any = None, loader: Any = None) -> tuple[Any, str | None]:
    """Return the class of a backend and its URL.

    Args:
        backend: the URL, or what ``by_name`` takes; the URL is None then. In ``"cache+memory://"``, the first part is
            the backend's name and the rest is its URL.
        loader: as for ``by_name``.
    """
    if not isinstance(backend, str) or "://" not in backend:
        return by_name(backend, loader), None
    scheme, plus, rest = backend.partition("://")[0], "+" in backend.partition("://")[0], backend
    if plus:
        scheme, rest = backend.split("+", 1)
    return by_name(scheme, loader), rest
