"""The backend for ``cache+memory://``: results in this process's memory.

Results are in the native store of that kind. The methods on single keys are for programs that keep values of their own
beside them; memcached is not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

from taskq_cloud.celery.backends.key_value import ensure_bytes
from taskq_cloud.celery.backends.store import StoreBackend
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.functional import LRUCache

__all__ = ("CacheBackend", "DummyClient", "backends")

_DUMMY_CLIENT_CACHE: Final = LRUCache(limit=5000)
"""The values of all clients of this process."""


def get_memcache_client() -> NoReturn:
    """Refuse memcached.

    Raises:
        ImproperlyConfigured: always.
    """
    raise ImproperlyConfigured("memcached is not supported: keep results in another store, or use cache+memory://")


class DummyClient:
    """A client whose values are in this process's memory. The arguments have no effect."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.cache = _DUMMY_CLIENT_CACHE

    def get(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a value; None without one."""
        return self.cache.get(key)

    def get_multi(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """Return the values that there are."""
        return {key: self.cache[key] for key in keys if key in self.cache}

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        """Keep a value."""
        self.cache[key] = value

    def delete(self, key: Any, *args: Any, **kwargs: Any) -> None:
        """Forget a value."""
        self.cache.pop(key, None)

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add to a number, and return it."""
        return self.cache.incr(key, delta)

    def touch(self, key: Any, expire: Any) -> None:
        """Do nothing: values don't expire."""


backends: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("memcache", "memcached", "pylibmc", "pymemcache"), get_memcache_client),
    "memory": lambda: (DummyClient, ensure_bytes),
}
"""The kinds of cache: each returns the class of its client, and the function that makes its keys."""


class CacheBackend(StoreBackend):
    """Results in this process's memory, by the native store of that kind.

    Args:
        app: the application.
        expires: the seconds for which results are kept; None: the setting ``result_expires``.
        backend: the kind of cache, or its URL; None: the setting ``cache_backend``, or memory.
        options: options of the client.
        url: the URL.
        kwargs: further arguments of ``Backend``.

    Raises:
        ImproperlyConfigured: there is no such kind, or it isn't supported.
    """

    servers: Any = None
    implements_incr = True

    def __init__(
        self,
        app: Any,
        expires: Any = None,
        backend: str | None = None,
        options: dict[str, Any] | None = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(app=app, expires=expires, url=url, **kwargs)
        self.options = {**(self.app.conf.cache_backend_options or {}), **(options or {})}
        place = url or backend or self.app.conf.cache_backend or "memory://"
        kind, _, servers = place.removeprefix("cache+").partition("://")
        self.backend, self.servers = kind, servers.rstrip("/").split(";")
        self.expires = self.prepare_expires(expires, type=int)
        if kind not in backends:
            known = ", ".join(backends)
            raise ImproperlyConfigured(
                f"The cache backend {kind!r} is unknown,\nPlease use one of the following backends instead: {known}"
            )
        self.Client, self.key_t = backends[kind]()

    @cached_property
    def client(self) -> Any:
        """The client of the cache."""
        return self.Client(self.servers, **self.options)

    def get(self, key: Any) -> Any:
        """Return a value of the cache; None without one."""
        return self.client.get(key)

    def mget(self, keys: Iterable[Any]) -> Any:
        """Return several values of the cache."""
        return self.client.get_multi(keys)

    def set(self, key: Any, value: Any) -> Any:
        """Keep a value in the cache."""
        return self.client.set(key, value, self.expires or 0)

    def delete(self, key: Any) -> Any:
        """Remove a value from the cache."""
        return self.client.delete(key)

    def incr(self, key: Any) -> Any:
        """Add one to a number in the cache, and return it."""
        return self.client.incr(key, 1)

    def expire(self, key: Any, value: Any) -> Any:
        """Set for how many seconds a value is kept."""
        return self.client.touch(key, value or 0)

    def __reduce__(self, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        own = {"backend": self.as_uri(), "expires": self.expires, "options": self.options}
        return super().__reduce__(args, {**(kwargs or {}), **own})

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """Return the backend's URL, as Celery shows it."""
        return f"{self.backend}://{';'.join(self.servers)}/"
