"""Turns Celery's URLs of brokers and result backends into native ones, or says which ones are supported."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.core.urls import Registry, without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import STORES

_BROKERS_HERE: Final = "sqs://, gcpubsub:// (pubsub://), memory:// and sqlite:///path"
_STORES_HERE: Final = (
    "dynamodb://, s3://, gs://, azureblockblob:// (azureblob://), cache+memory:// (memory://), sqlite:///path and "
    "disabled"
)
_REGION: Final = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d+")
_AZURE_CREDENTIAL: Final = re.compile(r"(?:defaultazure|managedidentity)credential@(?P<account>.+)", re.IGNORECASE)
_SHARED: Final = "taskq+"
_OWN_FILES: Final = "{0!r} is not supported: for a file on one machine, write sqlite:///path, or leave {1} unset"

# -- brokers


def broker_of(conf: Any) -> str | None:
    """Return the native URL of the broker; None: the configuration names none.

    Raises:
        ImproperlyConfigured: the broker is not supported, or the configuration names several.
    """
    read, write = _one(conf.broker_read_url), _one(conf.broker_write_url)
    if read != write:
        raise ImproperlyConfigured(
            f"broker_read_url and broker_write_url differ ({_shown(read)}, {_shown(write)}): an application sends to "
            "and receives from one broker, so set broker_url alone"
        )
    transport = conf.get("broker_transport")
    if not read:
        return None if not transport else _broker(f"{transport}://")
    return _broker(read if "://" in read or not transport else f"{transport}://{read}")


def _one(urls: Any) -> str | None:
    """Return the only URL of a text or a list."""
    given = urls.split(";") if isinstance(urls, str) else list(urls or ())
    if len(given) > 1:
        raise ImproperlyConfigured(
            f"{', '.join(map(_shown, given))}: the broker has one URL, without a failover: keep one of them"
        )
    return str(given[0]).strip() if given else None


def _broker(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    if "://" not in url:
        raise ImproperlyConfigured(f"the broker {_shown(url)!r} isn't a URL; supported: {_BROKERS_HERE}")
    if scheme == "gcpubsub":
        return "pubsub://" + url.partition("://")[2].removeprefix("projects/")
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
    return options


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
    if separator and _is_known(STORES, scheme):
        return backend
    if scheme in ("file", "filesystem") or scheme.startswith(("db+", "database+")):
        raise ImproperlyConfigured(_OWN_FILES.format(_shown(backend), "result_backend"))
    raise ImproperlyConfigured(f"the result backend {_shown(backend)!r} is not supported; supported: {_STORES_HERE}")


def _fixed(url: str) -> Callable[[Any, str], str]:
    return lambda *_: url


def _cache(conf: Any, rest: str) -> str:
    cache = str(conf.get("cache_backend") or "memory").removesuffix("://").removesuffix("/")
    if cache != "memory":
        raise ImproperlyConfigured(
            f"the cache {_shown(cache)!r} is not supported as a result backend; supported: {_STORES_HERE}"
        )
    return "memory://"


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
    "cache": _cache,
    "cache+memory": _fixed("memory://"),
    "disabled": _fixed("disabled://"),
    "dynamodb": _dynamodb,
    "gs": _gcs,
    "memory": _fixed("memory://"),
    "s3": _s3,
}
"""The scheme of Celery's URL, or the backend's name -> the function that makes the native URL."""

_CLASSES: Final = {
    "celery.backends.azureblockblob.AzureBlockBlobBackend": "azureblockblob",
    "celery.backends.base.DisabledBackend": "disabled",
    "celery.backends.cache.CacheBackend": "cache",
    "celery.backends.dynamodb.DynamoDBBackend": "dynamodb",
    "celery.backends.gcs.GCSBackend": "gs",
    "celery.backends.s3.S3Backend": "s3",
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
