"""A signal: functions that are called when something happens."""

import logging
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from taskq_cloud.celery.local import PromiseProxy, Proxy
from taskq_cloud.celery.utils.functional import fun_accepts_kwargs, retry_over_time
from taskq_cloud.celery.utils.log import get_logger

__all__ = ("Signal",)

logger = get_logger(__name__)

NO_RECEIVERS = object()

RECEIVER_RETRY_ERROR = "Could not process signal receiver %(receiver)s. Retrying %(when)s..."


def _make_id(target: Any) -> Any:
    """Return what tells one receiver or sender from another."""
    if isinstance(target, Proxy):
        target = target._get_current_object()
    if isinstance(target, bytes | str):
        return target
    if hasattr(target, "__func__"):
        # A bound method is a new object each time that it is read; a method without an object has no __self__.
        return id(getattr(target, "__self__", None)), id(target.__func__)
    return id(target)


def _make_lookup_key(receiver: Any, sender: Any, dispatch_uid: Any) -> tuple[Any, Any]:
    if not dispatch_uid:
        # A receiver that is called again goes by the identifier of the function inside.
        dispatch_uid = getattr(receiver, "_dispatch_uid", None) or _make_id(receiver)
    return dispatch_uid, _make_id(sender)


NONE_ID = _make_id(None)


@dataclass(frozen=True)
class _Options:
    """How a receiver is connected."""

    sender: Any = None
    weak: bool = True
    dispatch_uid: Any = None
    retry: bool = False


class Signal:
    """Something that happens, and the receivers that are called when it does.

    Args:
        providing_args: the names of the arguments that receivers get beside ``signal`` and ``sender``.
        use_caching: whether the receivers of each sender are remembered, which needs senders that weak references
            can be made to.
        name: the name in the signal's description.
    """

    #: Pairs of a key and a receiver, or a weak reference to it.
    receivers: list[tuple[Any, Any]] = None  # type: ignore[assignment]  # each signal has its own list

    def __init__(self, providing_args: Any = None, use_caching: bool = False, name: str | None = None) -> None:
        self.receivers = []
        self.providing_args = set(providing_args or ())
        self.lock = threading.Lock()
        self.use_caching = use_caching
        self.name = name
        self.sender_receivers_cache: Any = weakref.WeakKeyDictionary() if use_caching else {}
        # Set while garbage is collected, perhaps under the lock: the dead receivers are removed later.
        self._dead_receivers = False

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Connect a receiver; without one, return a decorator that does.

        Args:
            args: the receiver, then perhaps the options.
            kwargs: ``sender``: whose signals count (None: everybody's). ``weak``: False keeps the receiver alive.
                ``dispatch_uid``: an identifier, under which only the first receiver is connected.
                ``retry``: call the receiver again until it raises no exception; such a receiver is kept alive.

        Raises:
            ValueError: if the receiver takes no arbitrary keyword arguments.
        """
        if args and callable(args[0]):
            return self._connect(_Options(*args[1:], **kwargs), args[0])
        return partial(self._connect, _Options(*args, **kwargs))

    def _connect(self, options: _Options, receiver: Any) -> Any:
        weak, dispatch_uid = options.weak, options.dispatch_uid
        if options.retry:
            weak, dispatch_uid = False, dispatch_uid or _make_id(receiver)
            receiver = _retried(receiver)
            receiver._dispatch_uid = dispatch_uid
        self._connect_signal(receiver, options.sender, weak, dispatch_uid)
        return receiver

    def _connect_signal(self, receiver: Any, sender: Any, weak: bool, dispatch_uid: Any) -> None:
        assert callable(receiver), "Signal receivers must be callable"
        if not fun_accepts_kwargs(receiver):
            raise ValueError("Signal receiver must accept keyword arguments.")
        if isinstance(sender, PromiseProxy):
            # A task that isn't made yet: its receiver is connected once it is.
            sender.__then__(self._connect_when_evaluated, receiver, sender, weak, dispatch_uid)
            return
        key = _make_lookup_key(receiver, sender, dispatch_uid)
        with self.lock:
            self._clear_dead_receivers()
            if all(known != key for known, _ in self.receivers):
                self.receivers.append((key, self._reference(receiver) if weak else receiver))
            self.sender_receivers_cache.clear()

    def _connect_when_evaluated(self, receiver: Any, sender: Any, weak: bool, dispatch_uid: Any) -> None:
        self._connect_signal(receiver, sender._get_current_object(), weak, dispatch_uid)

    def _reference(self, receiver: Any) -> Any:
        bound = hasattr(receiver, "__self__") and hasattr(receiver, "__func__")
        return (weakref.WeakMethod if bound else weakref.ref)(receiver, self._remove_receiver)

    def _remove_receiver(self, receiver: Any = None) -> None:
        """Remember that a receiver is gone. This runs at any moment, so no lock may be waited for."""
        self._dead_receivers = True

    def _clear_dead_receivers(self) -> None:
        """Remove the receivers that are gone; the caller holds the lock."""
        if self._dead_receivers:
            self._dead_receivers = False
            self.receivers[:] = [pair for pair in self.receivers if not _is_dead(pair[1])]

    def disconnect(self, receiver: Any = None, sender: Any = None, weak: Any = None, dispatch_uid: Any = None) -> bool:
        """Disconnect a receiver, and return whether it was connected.

        Args:
            receiver: the receiver; None if it is named by ``dispatch_uid``.
            sender: the sender that it was connected with.
            weak: has no effect, and is deprecated.
            dispatch_uid: the identifier that it was connected with.
        """
        if weak is not None:
            from taskq_cloud.celery.exceptions import CDeprecationWarning

            warnings.warn("Passing `weak` to disconnect has no effect.", CDeprecationWarning, stacklevel=2)
        key = _make_lookup_key(receiver, sender, dispatch_uid)
        with self.lock:
            self._clear_dead_receivers()
            position = next((number for number, (known, _) in enumerate(self.receivers) if known == key), None)
            if position is not None:
                del self.receivers[position]
            self.sender_receivers_cache.clear()
        return position is not None

    def has_listeners(self, sender: Any = None) -> bool:
        """Tell whether a signal of this sender would be received."""
        return bool(self._live_receivers(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Any, Any]]:
        """Call all receivers, and return each with its return value, or with the exception that it raised.

        Args:
            sender: who sends the signal, or None.
            named: the receivers' arguments.
        """
        if not self.receivers:
            return []
        responses: list[tuple[Any, Any]] = []
        for receiver in self._live_receivers(sender):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as error:  # a receiver's failure is logged, and stops neither the sender nor the others
                logger.log(logging.ERROR, "Signal handler %r raised: %r", receiver, error, exc_info=True)
                responses.append((receiver, error))
            else:
                responses.append((receiver, response))
        return responses

    send_robust = send  # the name that Django has for it

    def _live_receivers(self, sender: Any) -> list[Any]:
        receivers = self.sender_receivers_cache.get(sender) if self.use_caching and not self._dead_receivers else None
        if receivers is NO_RECEIVERS:
            return []
        if receivers is None:
            receivers = self._find_receivers(sender)
        found = (each() if isinstance(each, weakref.ReferenceType) else each for each in receivers)
        return [receiver for receiver in found if receiver is not None]

    def _find_receivers(self, sender: Any) -> list[Any]:
        sender_id = _make_id(sender)
        with self.lock:
            self._clear_dead_receivers()
            found = [receiver for (_, wanted), receiver in self.receivers if wanted in (NONE_ID, sender_id)]
            if self.use_caching:
                self.sender_receivers_cache[sender] = found or NO_RECEIVERS
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} providing_args={self.providing_args!r}>"

    def __str__(self) -> str:
        return repr(self)


def _is_dead(receiver: Any) -> bool:
    return isinstance(receiver, weakref.ReferenceType) and receiver() is None


def _retried(receiver: Callable[..., Any]) -> Any:
    """Return a function that calls a receiver until it raises no exception."""

    def call_over_time(*args: Any, **kwargs: Any) -> Any:
        def on_error(error: Exception, intervals: Any, retries: int) -> float:
            from taskq_cloud.celery.utils.time import humanize_seconds

            interval: float = next(intervals)
            logger.error(RECEIVER_RETRY_ERROR, {"receiver": receiver, "when": humanize_seconds(interval, "in", " ")})
            return interval

        return retry_over_time(receiver, Exception, args, kwargs, on_error)

    return call_over_time
