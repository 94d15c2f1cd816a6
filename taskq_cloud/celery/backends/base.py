"""The base classes of result backends: ``BaseBackend``, ``KeyValueStoreBackend``, ``DisabledBackend``.

``app.backend`` is one of ``store``, which is derived from them and keeps its results in the application's native store.
A class of a user's own may be derived from them, too; it is then asked for results in place of that store.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from taskq_cloud.celery._state import get_current_app
from taskq_cloud.celery.backends.chords import Chords
from taskq_cloud.celery.backends.encoding import (
    COMPRESSED_PAYLOAD_MAGIC,
    EXCEPTION_ABLE_CODECS,
    compress_payload,
    decompress_payload,
)
from taskq_cloud.celery.backends.exception_info import ExceptionInfo
from taskq_cloud.celery.backends.marking import (
    Marking,
    _create_chord_error_with_cause,
    _create_fake_task_request,
)
from taskq_cloud.celery.backends.reading import Reading
from taskq_cloud.celery.backends.storing import Storing
from taskq_cloud.celery.backends.waiting import SyncBackendMixin
from taskq_cloud.celery.exceptions import TimeoutError as CeleryTimeoutError
from taskq_cloud.celery.utils.functional import LRUCache

if TYPE_CHECKING:
    from taskq_cloud.celery.backends.key_value import BaseKeyValueStoreBackend, KeyValueStoreBackend

__all__ = (
    "COMPRESSED_PAYLOAD_MAGIC",
    "EXCEPTION_ABLE_CODECS",
    "E_CHORD_NO_BACKEND",
    "E_NO_BACKEND",
    "Backend",
    "BaseBackend",
    "BaseDictBackend",
    "BaseKeyValueStoreBackend",
    "DisabledBackend",
    "ExceptionInfo",
    "KeyValueStoreBackend",
    "SyncBackendMixin",
    "_create_chord_error_with_cause",
    "_create_fake_task_request",
    "compress_payload",
    "decompress_payload",
    "pending_results_t",
    "unpickle_backend",
)

E_NO_BACKEND = """
No result backend is configured.
Set result_backend, for example to dynamodb://my-table.
"""

E_CHORD_NO_BACKEND = """
Starting chords requires a result backend to be configured.

A group with a task after it in a chain is a chord, too: the backend counts its members.
"""


class pending_results_t(NamedTuple):
    """The results that somebody waits for: those that the backend keeps alive, and the others."""

    concrete: dict[Any, Any]
    weak: dict[Any, Any]


def unpickle_backend(cls: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Make a backend anew, for the current application."""
    return cls(*args, app=get_current_app(), **kwargs)


class _nulldict(dict[Any, Any]):
    """A cache that keeps nothing."""

    def ignore(self, *_: Any, **__: Any) -> None:
        """Keep nothing."""

    __setitem__ = update = setdefault = ignore


def _is_request_ignore_result(request: Any) -> Any:
    return False if request is None else request.ignore_result


def sanitized(url: str) -> str:
    """Hide the password in a URL, and leave out its query."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user, colon, _ = parts.netloc.rpartition("@")[0].partition(":")
    credentials = f"{user}:**@" if colon else f"{user}@" if user else ""
    shown = f"{parts.scheme}://{credentials}{host}/{parts.path.removeprefix('/')}"
    return shown[:-1] if shown.endswith(":///") else shown


class Backend(Storing, Reading, Marking, Chords):
    """A result backend. A subclass has the methods ``_store_result``, ``_get_task_meta_for``, ``_forget`` and so on.

    Args:
        app: the application.
        serializer: the serializer of results; None: ``result_serializer``.
        max_cached_results: how many documents are remembered; None: ``result_cache_max``; -1: none.
        accept: the serializers that are read; None: ``result_accept_content`` or ``accept_content``.
        expires: how long results are kept; None: ``result_expires``.
        expires_type: the type of that number.
        url: the backend's URL.
        kwargs: have no effect.
    """

    TimeoutError: ClassVar[type[Exception]] = CeleryTimeoutError
    subpolling_interval: ClassVar[float | None] = None
    supports_native_join: ClassVar[bool] = False
    supports_autoexpire: ClassVar[bool] = False
    supports_failure_expires: ClassVar[bool] = False
    retry_policy: ClassVar[Mapping[str, Any]] = {
        "max_retries": 20,
        "interval_start": 0,
        "interval_step": 1,
        "interval_max": 1,
    }

    def __init__(
        self,
        app: Any,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Any = None,
        expires: Any = None,
        expires_type: Callable[[Any], Any] | None = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        conf = app.conf
        self._prepare_encoding(serializer, accept)
        most = max_cached_results or conf.result_cache_max
        self._cache: Any = _nulldict() if most == -1 else LRUCache(limit=most)
        self.expires = self.prepare_expires(expires, expires_type)
        if conf.get("result_failure_expires") is not None and not self.supports_failure_expires:
            warnings.warn(
                f"The {type(self).__name__} result backend does not support result_failure_expires, so failed\n"
                "results expire like any other result.\n",
                UserWarning,
                stacklevel=2,
            )
        self.always_retry = conf.get("result_backend_always_retry", False)
        self.max_sleep_between_retries_ms = conf.get("result_backend_max_sleep_between_retries_ms", 10000)
        self.base_sleep_between_retries_ms = conf.get("result_backend_base_sleep_between_retries_ms", 10)
        self.max_retries = conf.get("result_backend_max_retries", float("inf"))
        self.thread_safe = conf.get("result_backend_thread_safe", False)
        self._pending_results = pending_results_t({}, {})
        self.url = url

    def __reduce__(self, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return unpickle_backend, (type(self), args, kwargs or {})

    def as_uri(self, include_password: bool = False) -> Any:
        """Return the backend's URL, without its password unless that is asked for."""
        return self.url if include_password else sanitized(self.url or "")


class BaseBackend(Backend, SyncBackendMixin):
    """A backend that has to be asked for results."""


BaseDictBackend = BaseBackend


class DisabledBackend(BaseBackend):
    """The backend of an application without ``result_backend``: nothing is stored, and nothing can be read."""

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Store nothing."""

    def ensure_chords_allowed(self) -> None:
        """Refuse chords.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(E_CHORD_NO_BACKEND.strip())

    def _is_disabled(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(E_NO_BACKEND.strip())

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """Return ``"disabled://"``."""
        return "disabled://"

    get_state = get_status = get_result = get_traceback = _is_disabled
    get_task_meta_for = wait_for = get_many = _get_task_meta_for = _is_disabled


def __getattr__(name: str) -> Any:
    if name in {"BaseKeyValueStoreBackend", "KeyValueStoreBackend"}:
        from taskq_cloud.celery.backends import key_value  # derived from the classes of this module

        return getattr(key_value, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
