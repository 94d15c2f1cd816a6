"""Turns Celery's URLs of brokers and result backends into native ones, or says which ones are supported."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.celery.native._server_brokers import RABBITMQ, REDIS, server_options, server_url
from taskq_cloud.celery.native._server_stores import READERS as SERVERS
from taskq_cloud.core.urls import Registry, without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import STORES

_BROKERS_HERE: Final = (
    "sqs://, gcpubsub:// (pubsub://), redis://, rediss://, sentinel://, amqp://, amqps://, postgresql://, memory:// "
    "and sqlite:///path"
)
_STORES_HERE: Final = ", ".join(sorted({f"{each}://" for each in (*STORES.known, "cache+memcached", "db+...")}))
_REGION: Final = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d+")
_AZURE_CREDENTIAL: Final = re.compile(r"(?:defaultazure|managedidentity)credential@(?P<account>.+)", re.IGNORECASE)
_SHARED: Final = "taskq+"
_OWN_FILES: Final = "{0!r} is not supported: for a file on one machine, write sqlite:///path, or leave {1} unset"

# -- brokers


def broker_of(conf: Any) -> str | None:
    """Return the native URL of the broker, or several that are alternatives; None: the configuration names none.

    Raises:
        ImproperlyConfigured: the broker is not supported, or the configuration names several that are no alternatives.
    """
    read, write = _urls(conf.broker_read_url), _urls(conf.broker_write_url)
    if read != write:
        raise ImproperlyConfigured(
            f"broker_read_url and broker_write_url differ ({_shown(';'.join(read))}, {_shown(';'.join(write))}): an "
            "application sends to and receives from one broker, so set broker_url alone"
        )
    transport = conf.get("broker_transport")
    if not read:
        return None if not transport else _broker(conf, f"{transport}://")
    urls = [_broker(conf, url if "://" in url or not transport else f"{transport}://{url}") for url in read]
    if len(urls) > 1 and any(url.partition("://")[0] not in REDIS | RABBITMQ for url in urls):
        raise ImproperlyConfigured(
            f"{', '.join(map(_shown, read))}: the broker has one URL, without a failover: keep one of them"
        )
    return ";".join(urls)


def _urls(urls: Any) -> list[str]:
    """Return the URLs of a text or a list."""
    given = urls.split(";") if isinstance(urls, str) else list(urls or ())
    return [text for each in given if (text := str(each).strip())]


def _broker(conf: Any, url: str) -> str:
    scheme = url.partition("://")[0].lower()
    if "://" not in url:
        raise ImproperlyConfigured(f"the broker {_shown(url)!r} isn't a URL; supported: {_BROKERS_HERE}")
    if scheme == "gcpubsub":
        return "pubsub://" + url.partition("://")[2].removeprefix("projects/")
    if (server := server_url(conf, url)) is not None:
        return server
    if _is_known(BROKERS, scheme):
        return url
    if scheme in ("filesystem", "sqla", "sqlalchemy") or scheme.startswith(("sqla+", "sqlalchemy+")):
        raise ImproperlyConfigured(_OWN_FILES.format(_shown(url), "broker_url"))
    raise ImproperlyConfigured(f"the broker {_shown(url)!r} is not supported; supported: {_BROKERS_HERE}")


def options_of(conf: Any, broker: str | None) -> dict[str, Any]:
    """Return the options of the broker, without those of kombu that only change how it talks to Pub/Sub."""
    options = dict(conf.get("broker_transport_options") or {})
    if (broker or "").startswith("pubsub:"):
        for name in ("ack_modify_batch_size", "enable_exactly_once_delivery"):
            options.pop(name, None)
    return options if broker is None else {**server_options(conf, broker), **options}


# -- result backends


def results_of(conf: Any) -> str | None:
    """Return the native URL of the result store; None: the configuration names none.

    Raises:
        ImproperlyConfigured: the backend is not supported, or one of its settings is missing or can't be used.
    """
    backend = conf.result_backend
    if not backend:
        return None
    if isinstance(backend, type):
        backend = f"{backend.__module__}:{backend.__name__}"
    if not isinstance(backend, str):
        raise ImproperlyConfigured(
            f"result_backend is {backend!r:.100}; supported are the URLs and classes of {_STORES_HERE}"
        )
    if backend.startswith(_SHARED):
        return backend.removeprefix(_SHARED)  # the backend for Celery over a native store is that store here
    backend = _CLASSES.get(backend.removeprefix("taskq_cloud.").replace(":", "."), backend)
    name, separator, rest = backend.partition("://")
    scheme = name.lower()
    read = _READERS.get(scheme)
    if read is not None:
        return read(conf, rest)
    server = SERVERS.get("database" if scheme.startswith(("db+", "database+")) else scheme)
    if server is not None:
        return server(conf, scheme, rest)
    if separator and _is_known(STORES, scheme):
        return backend
    raise ImproperlyConfigured(f"the result backend {_shown(backend)!r} is not supported; supported: {_STORES_HERE}")


def _fixed(url: str) -> Callable[[Any, str], str]:
    return lambda *_: url


def _dynamodb(conf: Any, rest: str) -> str:
    """Return the URL of a table, with the keys of Celery's items; ``ttl_seconds`` gives way to ``result_expires``."""
    split = urlsplit(f"dynamodb://{rest}")
    place = f"{split.netloc}{split.path}".rstrip("/") or "celery"
    if _REGION.fullmatch(place):
        place = f"@{place}"
    query = {"key_format": "celery", **dict(parse_qsl(split.query))}
    query.pop("ttl_seconds", None)
    if endpoint := conf.get("dynamodb_endpoint_url"):
        query["endpoint_url"] = endpoint
    return f"dynamodb://{place}?{urlencode(query)}"


def _s3(conf: Any, rest: str) -> str:
    if conf.get("s3_access_key_id") or conf.get("s3_secret_access_key"):
        raise ImproperlyConfigured(
            "s3_access_key_id and s3_secret_access_key are not supported: credentials come from the environment, a "
            "profile or a role, as in every AWS SDK; remove the settings"
        )
    query = {"region": conf.get("s3_region"), "endpoint_url": conf.get("s3_endpoint_url")}
    return _bucket("s3", rest, conf.get("s3_bucket"), _prefix(conf, "s3_base_path"), query)


def _gcs(conf: Any, rest: str) -> str:
    """Return the URL of a bucket. The URL's parts have priority over the settings, as in Celery."""
    split = urlsplit(f"gs://{rest}")
    given = dict(parse_qsl(split.query))
    bucket = split.netloc or given.get("gcs_bucket") or conf.get("gcs_bucket")
    prefix = split.path.strip("/") or str(given.get("gcs_base_path") or conf.get("gcs_base_path") or "").strip("/")
    query = {"project": given.get("project") or given.get("gcs_project") or conf.get("gcs_project")}
    return _bucket("gs", "", bucket, prefix, query)


def _azure(conf: Any, rest: str) -> str:
    container, prefix = conf.get("azureblockblob_container_name"), _prefix(conf, "azureblockblob_base_path")
    named = _AZURE_CREDENTIAL.fullmatch(rest)
    if named:
        account = named["account"] if "://" in named["account"] else f"https://{named['account']}"
        return _bucket("azureblob", "", container, prefix, {"account_url": account.rstrip("/")})
    if "=" in rest.partition("?")[0]:
        if rest != os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
            raise ImproperlyConfigured(
                "result_backend='azureblockblob://...' holds a connection string, which is a secret: set the variable "
                "AZURE_STORAGE_CONNECTION_STRING to it, and result_backend='azureblockblob://'"
            )
        rest = ""
    return _bucket("azureblob", rest, container, prefix, {})


_READERS: Final[dict[str, Callable[[Any, str], str]]] = {
    "azureblockblob": _azure,
    "disabled": _fixed("disabled://"),
    "dynamodb": _dynamodb,
    "gs": _gcs,
    "memory": _fixed("memory://"),
    "s3": _s3,
}
"""The scheme of Celery's URL, or the backend's name -> the function that makes the native URL."""

_CLASSES: Final = {
    "celery.backends.arangodb.ArangoDbBackend": "arangodb",
    "celery.backends.azureblockblob.AzureBlockBlobBackend": "azureblockblob",
    "celery.backends.base.DisabledBackend": "disabled",
    "celery.backends.cache.CacheBackend": "cache",
    "celery.backends.cassandra.CassandraBackend": "cassandra",
    "celery.backends.cosmosdbsql.CosmosDBSQLBackend": "cosmosdbsql",
    "celery.backends.couchbase.CouchbaseBackend": "couchbase",
    "celery.backends.couchdb.CouchBackend": "couchdb",
    "celery.backends.database.DatabaseBackend": "database",
    "celery.backends.dynamodb.DynamoDBBackend": "dynamodb",
    "celery.backends.elasticsearch.ElasticsearchBackend": "elasticsearch",
    "celery.backends.filesystem.FilesystemBackend": "filesystem",
    "celery.backends.gcs.GCSBackend": "gs",
    "celery.backends.mongodb.MongoBackend": "mongodb",
    "celery.backends.redis.RedisBackend": "redis",
    "celery.backends.redis.SentinelBackend": "sentinel",
    "celery.backends.rpc.RPCBackend": "rpc",
    "celery.backends.s3.S3Backend": "s3",
    "django_celery_results.backends.CacheBackend": "django-cache",
    "django_celery_results.backends.DatabaseBackend": "django-db",
}
"""The path of a backend's class, here or in Celery -> the backend's name."""


def _bucket(scheme: str, rest: str, bucket: Any, prefix: str, query: dict[str, Any]) -> str:
    """Return the native URL of a bucket: the one that is given after the scheme, or one made of settings."""
    if rest.strip("/"):
        return f"{scheme}://{rest}"
    if not bucket:
        raise ImproperlyConfigured(
            f"the result backend {scheme} has no bucket: write {scheme}://bucket/prefix, or set the setting of its name"
        )
    options = urlencode({name: value for name, value in query.items() if value})
    return f"{scheme}://{bucket}{f'/{prefix}' if prefix else ''}{f'?{options}' if options else ''}"


def _prefix(conf: Any, name: str) -> str:
    """Return the prefix of a bucket's keys, which ends before a slash here.

    Raises:
        ImproperlyConfigured: the keys of Celery's backend would have no slash after it.
    """
    path: str = conf.get(name) or ""
    if path and path != f"{path.strip('/')}/":
        raise ImproperlyConfigured(
            f"{name} is {path!r}, but keys here have a slash after their prefix and none before it: write "
            f"{path.strip('/') + '/'!r}"
        )
    return path.strip("/")


def _is_known(registry: Registry, scheme: str) -> bool:
    if scheme in registry.known:
        return True
    from importlib.metadata import entry_points  # few applications use another package's adapter

    return scheme in {entry.name for entry in entry_points(group=registry.group)}


def _shown(url: str | None) -> str:
    return without_secrets(url or "")
