"""Turns Celery's settings of result backends in servers and files into native URLs and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from taskq_cloud.celery.native._server_brokers import REDIS, with_tls
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import OPTIONS


def redis(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of Redis; parts that it lacks come from ``redis_host`` and the like, as in Celery.

    Several URLs with ``;`` between them, of servers or sentinels, are servers that stand in for each other.
    """
    first, *others = rest.split(";")
    urls = [(scheme, first), *((each.partition("://")[0], each.partition("://")[2]) for each in others if each)]
    return ";".join(_redis(conf, *url) for url in urls)


def _redis(conf: Any, scheme: str, rest: str) -> str:
    split = urlsplit(f"{scheme}://{rest}")
    if scheme in ("redis+socket", "sentinel"):
        return with_tls(f"{scheme}://{rest}", conf.get("redis_backend_use_ssl"), "redis_backend_use_ssl")
    host = split.hostname or conf.get("redis_host") or "localhost"
    port = split.port or conf.get("redis_port") or 6379
    database = split.path.strip("/") or conf.get("redis_db") or 0
    user = split.username or quote(str(conf.get("redis_username") or ""), safe="")
    password = split.password or quote(str(conf.get("redis_password") or ""), safe="")
    login = f"{user}{f':{password}' if password else ''}@" if user or password else ""
    query = f"?{split.query}" if split.query else ""
    url = f"{scheme}://{login}{f'[{host}]' if ':' in str(host) else host}:{port}/{database}{query}"
    return with_tls(url, conf.get("redis_backend_use_ssl"), "redis_backend_use_ssl")


def database(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of a database for SQLAlchemy: ``db+`` and its own URL, or the one of ``database_url``."""
    if scheme.startswith(("db+", "database+")) and rest:
        return f"db+{scheme.partition('+')[2]}://{rest}"
    url = rest if "://" in rest else conf.get("database_url")
    if not url:
        raise ImproperlyConfigured(
            "the result backend has no URL of a database: write result_backend='db+postgresql://user:password@host/name'"
        )
    return f"db+{url}"


def memcached(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of memcached's servers: ``cache+memcached://``, ``memcached://``, or that of ``cache_backend``."""
    if scheme == "cache":
        url = str(rest or conf.get("cache_backend") or "memory://")
        scheme, _, rest = url.partition("://")
    kind = scheme.rpartition("+")[2]
    if kind == "memory":
        return "memory://"
    if kind not in ("memcached", "memcache", "pymemcache", "pylibmc"):
        raise ImproperlyConfigured(
            f"the cache {without_secrets(f'{kind}://{rest}')!r} is not supported as a result backend; supported: "
            "memory, memcached"
        )
    return f"memcached://{rest}"


def mongodb(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of MongoDB, with the database, the collection and the options of ``mongodb_backend_settings``."""
    settings = _settings(conf, "mongodb_backend_settings")
    options = dict(settings.pop("options", None) or {})
    collection = settings.pop("taskmeta_collection", None)
    settings.pop("groupmeta_collection", None)  # groups are records among the others
    split = urlsplit(f"{scheme}://{rest}")
    host = settings.pop("host", None)
    if isinstance(host, str) and "://" in host:
        split = urlsplit(host)
    address = split.netloc or _address(settings, host)
    path = settings.pop("database", None) or split.path.strip("/")
    for name in ("port", "user", "password"):
        settings.pop(name, None)
    if (size := settings.pop("max_pool_size", None)) is not None:
        options.setdefault("maxPoolSize", size)
    query = "&".join(
        part
        for part in (
            split.query,
            urlencode({name: _text(value) for name, value in (options | settings).items()}),
            urlencode({"collection": collection}) if collection else "",
        )
        if part
    )
    return f"{split.scheme}://{address}/{path}{f'?{query}' if query else ''}"


def _address(settings: Mapping[str, Any], host: Any) -> str:
    hosts = [host] if isinstance(host, str) else list(host or ["localhost"])
    port = settings.get("port")
    user, password = (quote(str(settings.get(name) or ""), safe="") for name in ("user", "password"))
    login = f"{user}{f':{password}' if password else ''}@" if user else ""
    return login + ",".join(each if ":" in each or not port else f"{each}:{port}" for each in hosts)


def cosmosdb(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of a Cosmos DB account, with the database and the collection of the settings."""
    split = urlsplit(f"{scheme}://{rest}")
    names = (conf.get("cosmosdbsql_database_name"), conf.get("cosmosdbsql_collection_name"))
    path = split.path.strip("/") or "/".join(quote(str(name), safe="") for name in names if name)
    return split._replace(path=f"/{path}").geturl()


def folder(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of a folder, which ``filesystem://`` and ``file://`` name."""
    return f"file://{rest}"


def with_login(setting: str) -> Callable[[Any, str, str], str]:
    """Make a reader of URLs whose address and login may be in a setting: ``couchbase_backend_settings``."""

    def read(conf: Any, scheme: str, rest: str) -> str:
        given = _settings(conf, setting)
        split = urlsplit(f"{scheme}://{rest}")
        user = given.pop("username", None) or given.pop("user", None)
        password = given.pop("password", None)
        netloc = split.netloc
        if not netloc:
            host, port = given.pop("host", "localhost"), given.pop("port", None)
            netloc = f"{host}{f':{port}' if port else ''}"
        if user and "@" not in netloc:
            netloc = f"{quote(str(user), safe='')}:{quote(str(password or ''), safe='')}@{netloc}"
        names = [given.pop(name, None) for name in ("database", "bucket", "collection")]
        path = split.path.strip("/") or "/".join(str(name) for name in names if name)
        tls = {"tls": "true"} if given.pop("http_protocol", None) == "https" else {}
        if tls and given.get("verify") is False:
            tls["verify"] = "false"
        for name in ("host", "port", "verify"):
            given.pop(name, None)
        if given:
            raise ImproperlyConfigured(f"{setting} has the unknown option {min(given)!r}")
        query = "&".join(part for part in (split.query, urlencode(tls)) if part)
        return split._replace(netloc=netloc, path=f"/{path}", query=query).geturl()

    return read


def cassandra(conf: Any, scheme: str, rest: str) -> str:
    """Return the URL of a Cassandra cluster, which Celery's settings name.

    Raises:
        ImproperlyConfigured: neither the URL nor ``cassandra_servers`` and ``cassandra_keyspace`` name a cluster.
    """
    split = urlsplit(f"{scheme}://{rest}")
    servers = conf.get("cassandra_servers") or ()
    hosts = split.netloc or ",".join([servers] if isinstance(servers, str) else servers)
    keyspace = split.path.strip("/") or conf.get("cassandra_keyspace")
    if not keyspace or not (hosts or conf.get("cassandra_secure_bundle_path")):
        raise ImproperlyConfigured(
            "the result backend cassandra needs cassandra_servers and cassandra_keyspace, or the URL "
            "cassandra://host1,host2/keyspace"
        )
    port = conf.get("cassandra_port")
    if port and ":" not in hosts.rpartition("@")[2]:
        hosts += f":{port}"
    return split._replace(netloc=hosts, path=f"/{keyspace}").geturl()


def as_it_is(conf: Any, scheme: str, rest: str) -> str:
    """Return a URL that Celery and this package write alike."""
    return f"{scheme}://{rest}"


READERS: Final[Mapping[str, Callable[[Any, str, str], str]]] = {
    **dict.fromkeys(REDIS, redis),
    **dict.fromkeys(("memcached", "cache", "cache+memory", "cache+memcached", "cache+pymemcache"), memcached),
    **dict.fromkeys(("cache+memcache", "cache+pylibmc"), memcached),
    **dict.fromkeys(("mongodb", "mongodb+srv"), mongodb),
    **dict.fromkeys(("file", "filesystem"), folder),
    **dict.fromkeys(("database", "db", "sqlalchemy"), database),
    "arangodb": with_login("arangodb_backend_settings"),
    "cassandra": cassandra,
    "cosmosdbsql": cosmosdb,
    "couchbase": with_login("couchbase_backend_settings"),
    "couchdb": as_it_is,
    "django-cache": as_it_is,
    "django-db": as_it_is,
    "elasticsearch": as_it_is,
    "elasticsearch+https": as_it_is,
    "riak": as_it_is,
    "rpc": as_it_is,
}
"""The scheme of Celery's URL, or the backend's name -> the function that makes the native URL."""


def options_of(conf: Any, url: str) -> dict[str, Any]:
    """Return the options of a store that settings of Celery's stand for.

    Args:
        conf: the configuration.
        url: the native URL of the store.
    """
    scheme = url.partition("://")[0]
    given = dict(conf.get("result_backend_transport_options") or {})
    known = OPTIONS.get(scheme.partition("+")[0]) or ()
    found: dict[str, Any] = {name: given[name] for name in known if name in given}
    prefix, names = _settings_of(scheme)
    for name in names:
        value = conf.get(f"{prefix}{name}")
        if value is not None and value not in ({}, []):
            found[name] = value
    return found


def _settings_of(scheme: str) -> tuple[str, Iterable[str]]:
    """The beginning of Celery's names of a store's settings, and the rest of each, which the store knows."""
    if scheme.startswith("db+"):
        from taskq_cloud.stores.results import sqlalchemy  # few applications have this store

        return "database_", sqlalchemy.SETTINGS.values()
    if scheme == "cassandra":
        from taskq_cloud.stores.results import cassandra

        return "cassandra_", cassandra.SETTINGS
    return "", ()


def _settings(conf: Any, name: str) -> dict[str, Any]:
    given = conf.get(name) or {}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{name} is {given!r:.100}: it must be a dict")
    return dict(given)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
