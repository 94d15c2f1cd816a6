"""The client of the caches in Django's settings: some methods of Django's cache API, by their names.

===============  ============================  ======================================================================
operation        parameters                    answer
===============  ============================  ======================================================================
``get_many``     keys                          key -> value, for those that are there
``set``          key, value, timeout           (nothing)
``add``          key, value, timeout           whether there was no value
``delete_many``  keys                          (nothing)
===============  ============================  ======================================================================

Timeouts are in whole seconds; None: never. An event loop's calls are made in threads: most of Django's caches are
synchronous, and the asynchronous methods of the API do the same.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.clients.base import ThreadedClient
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    from django.core.cache import InvalidCacheBackendError, caches
    from django.core.cache.backends.dummy import DummyCache
except ImportError as error:
    raise MissingExtra("django-cache://", "django") from error

from taskq_cloud.clients.django import set_up

THREADS: Final = 5


def open_client(_service: str, options: Mapping[str, Any]) -> DjangoCacheClient:
    """Make the client of one of Django's caches; the first call connects.

    Args:
        _service: the service's name.
        options: ``alias``, the cache's in CACHES.

    Raises:
        ImproperlyConfigured: Django has no settings, or no such cache, or the cache keeps nothing.
    """
    set_up()
    alias = options["alias"]
    if alias not in caches:
        raise ImproperlyConfigured(f"django-cache://{alias}: CACHES has no cache of this name")
    try:
        cache = caches.create_connection(alias)
    except InvalidCacheBackendError as error:
        raise ImproperlyConfigured(f"django-cache://{alias} can't be used: {error}") from error
    if isinstance(cache, DummyCache):
        raise ImproperlyConfigured(f"django-cache://{alias}: CACHES has the dummy cache there, which keeps nothing")
    return DjangoCacheClient(alias, cache)


async def open_async_client(service: str, options: Mapping[str, Any]) -> ThreadedClient:
    """Make the client for an event loop, whose calls run in threads; see ``open_client``."""
    return ThreadedClient(open_client(service, options), THREADS, "taskq-django-cache")


class DjangoCacheClient:
    """A client of one of Django's caches. Threads may share it.

    A cache object serves one thread at a time. Those that are idle are kept, and not one for each thread as Django
    does, since threads that end would leave theirs open.

    Args:
        alias: the cache's name in CACHES.
        cache: the first cache object.
    """

    def __init__(self, alias: str, cache: Any) -> None:
        self._alias = alias
        self._idle = [cache]

    def call(self, call: Call) -> Any:
        """Call a method of the cache, once.

        Raises:
            CallError: the call failed; transient, since the errors of a cache's driver can't be told apart.
        """
        before = sys.exception()
        try:
            cache = self._idle.pop()
        except IndexError:
            cache = caches.create_connection(self._alias)
        try:
            answer = _answer(cache, call)
        except CallError:
            raise
        except BaseException as error:
            cache.close()  # nobody knows what its connection is still waiting for
            if not isinstance(error, Exception):
                raise
            interruption = interruption_in(error, before)
            if interruption is not None:
                raise interruption from None
            text = f"Django's cache {self._alias!r}: {' '.join(str(error).split())}"
            raise CallError(call, type(error).__name__, text, Trouble.TRANSIENT) from error
        self._idle.append(cache)
        return answer

    def close(self) -> None:
        """Close the cache objects. A later call makes a new one."""
        idle, self._idle = self._idle, []
        for cache in idle:
            cache.close()


def _answer(cache: Any, call: Call) -> Any:
    given = call.parameters
    match call.operation:
        case "get_many":
            return cache.get_many(given["keys"])
        case "set":
            return cache.set(given["key"], given["value"], given["timeout"])
        case "add":
            return bool(cache.add(given["key"], given["value"], given["timeout"]))
        case "delete_many":
            return cache.delete_many(given["keys"])
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)
