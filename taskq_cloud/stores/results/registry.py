"""Finds the result store for a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.urls import Registry
from taskq_cloud.errors import ImproperlyConfigured

STORES: Final = Registry(
    "result store",
    {
        "arangodb": "taskq_cloud.stores.results.arangodb:ArangoDBResults",
        "azureblob": "taskq_cloud.stores.results.azure_blob:AzureBlobResults",
        # Celery's scheme for Azure Blob Storage.
        "azureblockblob": "taskq_cloud.stores.results.azure_blob:AzureBlobResults",
        "cassandra": "taskq_cloud.stores.results.cassandra:CassandraResults",
        "cosmosdbsql": "taskq_cloud.stores.results.cosmosdb:CosmosDBResults",
        "couchbase": "taskq_cloud.stores.results.couchbase:CouchbaseResults",
        "couchbases": "taskq_cloud.stores.results.couchbase:CouchbaseResults",
        "couchdb": "taskq_cloud.stores.results.couchdb:CouchDBResults",
        "disabled": "taskq_cloud.stores.results.disabled:DisabledResults",
        "django-cache": "taskq_cloud.stores.results.django_cache:DjangoCacheResults",
        "django-db": "taskq_cloud.stores.results.django_orm:DjangoResults",
        "dynamodb": "taskq_cloud.stores.results.dynamodb:DynamoDBResults",
        "elasticsearch": "taskq_cloud.stores.results.elasticsearch:ElasticsearchResults",
        "elasticsearch+https": "taskq_cloud.stores.results.elasticsearch:ElasticsearchResults",
        "file": "taskq_cloud.stores.results.filesystem:FileResults",
        "gs": "taskq_cloud.stores.results.gcs:GCSResults",
        "memcached": "taskq_cloud.stores.results.memcached:MemcachedResults",
        "memory": "taskq_cloud.stores.results.memory:MemoryResults",
        "mongodb": "taskq_cloud.stores.results.mongodb:MongoDBResults",
        "mongodb+srv": "taskq_cloud.stores.results.mongodb:MongoDBResults",
        "opensearch": "taskq_cloud.stores.results.elasticsearch:ElasticsearchResults",
        "opensearch+https": "taskq_cloud.stores.results.elasticsearch:ElasticsearchResults",
        "postgresql": "taskq_cloud.stores.results.postgresql:PostgreSQLResults",
        "redis": "taskq_cloud.stores.results.redis:RedisResults",
        "redis+socket": "taskq_cloud.stores.results.redis:RedisResults",
        "rediss": "taskq_cloud.stores.results.redis:RedisResults",
        "riak": "taskq_cloud.stores.results.riak:RiakResults",
        "rpc": "taskq_cloud.stores.results.rpc:RPCResults",
        "s3": "taskq_cloud.stores.results.s3:S3Results",
        "sentinel": "taskq_cloud.stores.results.redis:RedisResults",
        "sqlite": "taskq_cloud.stores.results.sqlite:SQLiteResults",
    },
    "taskq_cloud.results",
    families={
        "cache": "taskq_cloud.stores.results.memcached:MemcachedResults",
        "db": "taskq_cloud.stores.results.sqlalchemy:SQLAlchemyResults",
    },
)


_PREFIX: Final = frozenset({"global_keyprefix"})
_REDIS: Final = _PREFIX | {"failover_strategy", "master_name", "sentinel_kwargs"}
_OF_ALL: Final = frozenset({"retry_policy", "socket_connect_timeout", "socket_timeout", "visibility_timeout"})
"""Options that users of Celery set for any backend, about attempts and times, which settings of this package decide."""
OPTIONS: Final[Mapping[str, frozenset[str] | None]] = {
    **dict.fromkeys(("redis", "rediss", "sentinel"), _REDIS),
    **dict.fromkeys(("cache", "file", "memcached"), _PREFIX),
    **dict.fromkeys(("cassandra", "db", "postgresql", "rpc"), None),
    "django-cache": frozenset({"cache_backend"}),
}
"""Scheme, up to its ``+`` -> the options that the store knows; None: it checks them itself. Other stores have none."""


def store_from_url(url: str, options: Mapping[str, Any]) -> ResultStore:
    """Make the result store for a URL, without a call to its service.

    Args:
        url: ``dynamodb://table``, ``s3://bucket/prefix``, ``azureblob://container/prefix``, ``gs://bucket/prefix``,
            ``redis://host/0``, ``postgresql://host/database``, ``db+dialect://...`` for SQLAlchemy's databases,
            ``mongodb://host/database`` and the other schemes of this table, ``sqlite:///path``, ``memory://``,
            ``disabled://``, or a URL with the scheme of an installed package.
        options: the setting ``result_backend_transport_options``; and ``broker_url``, for ``rpc://``.

    Raises:
        ImproperlyConfigured: no store has the URL's scheme, the store can't read the rest of the URL, or it has no such
            option.
    """
    scheme = url.partition("://")[0].partition("+")[0]
    given = {name: value for name, value in options.items() if name != "broker_url" or scheme == "rpc"}
    known = OPTIONS.get(scheme, frozenset())
    if known is not None and scheme in STORES.known and (unknown := sorted(given.keys() - known - _OF_ALL)):
        raise ImproperlyConfigured(
            f"result_backend_transport_options: the result store {scheme}:// has no option {unknown[0]!r}; known: "
            f"{', '.join(sorted(known)) or 'none; its options are in its URL'}"
        )
    store: ResultStore = STORES.open(url, given)
    return store
