"""Threads that run a service, and values of which each thread has its own."""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
import types
from _thread import get_ident
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import TIMEOUT_MAX as THREAD_TIMEOUT_MAX
from typing import Any

from taskq_cloud.celery.local import Proxy

__all__ = ("Local", "LocalManager", "LocalStack", "bgThread", "default_socket_timeout", "get_ident", "release_local")


@contextmanager
def default_socket_timeout(timeout: float | None) -> Iterator[None]:
    """Give the sockets that are opened within a block this timeout, in seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


class bgThread(threading.Thread):
    """A thread that calls its method ``body`` again and again until it is stopped."""

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self.daemon = True
        self.name = name or type(self).__name__

    def body(self) -> Any:
        """One step of the service, which a subclass defines."""
        raise NotImplementedError

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Write the error of a step to standard error."""
        sys.stderr.write(msg.format(*fmt) + "\n")
        traceback.print_exc(None, sys.stderr)

    def run(self) -> None:
        """Make the steps; an error of one ends the process, as nobody would see that the service is gone."""
        try:
            while not self._stopping.is_set():
                try:
                    self.body()
                except Exception as error:
                    try:
                        self.on_crash("{0!r} crashed: {1!r}", self.name, error)
                        self._ended.set()
                    finally:
                        sys.stderr.flush()
                        os._exit(1)
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Let the step that runs be the last one, and wait for its end."""
        self._stopping.set()
        self._ended.wait()
        if self.is_alive():
            self.join(THREAD_TIMEOUT_MAX)


def release_local(local: Any) -> None:
    """Forget the values of this thread."""
    local.__release_local__()


class Local:
    """Attributes of which each thread has its own."""

    __slots__ = ("__ident_func__", "__storage__")

    def __init__(self) -> None:
        object.__setattr__(self, "__storage__", {})
        object.__setattr__(self, "__ident_func__", get_ident)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.__storage__.items())

    def __call__(self, proxy: str) -> Proxy:
        """Return a proxy of an attribute."""
        return Proxy(self, proxy)  # type: ignore[arg-type]  # a proxy asks such an object for the attribute

    def __release_local__(self) -> None:
        self.__storage__.pop(self.__ident_func__(), None)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__storage__[self.__ident_func__()][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__storage__.setdefault(self.__ident_func__(), {})[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self.__storage__[self.__ident_func__()][name]
        except KeyError:
            raise AttributeError(name) from None


class LocalStack:
    """A stack of which each thread has its own."""

    def __init__(self) -> None:
        self._local = Local()

    def __release_local__(self) -> None:
        self._local.__release_local__()

    def _ident_func(self) -> Callable[[], Any]:
        return self._local.__ident_func__  # type: ignore[no-any-return]

    def _set_ident_func(self, value: Callable[[], Any]) -> None:
        object.__setattr__(self._local, "__ident_func__", value)

    __ident_func__ = property(_ident_func, _set_ident_func)
    __class_getitem__: Any = classmethod(types.GenericAlias)

    def __call__(self) -> Proxy:
        """Return a proxy of the value on top."""

        def top() -> Any:
            value = self.top
            if value is None:
                raise RuntimeError("object unbound")
            return value

        return Proxy(top)

    def push(self, obj: Any) -> list[Any]:
        """Put a value on top, and return the stack."""
        if not self.stack:
            self._local.stack = []
        values: list[Any] = self._local.stack
        values.append(obj)
        return values

    def pop(self) -> Any:
        """Remove the value on top, and return it; None for an empty stack."""
        stack = self.stack
        if not stack:
            return None
        if len(stack) == 1:
            release_local(self._local)
        return stack.pop()

    def __len__(self) -> int:
        return len(self.stack)

    @property
    def stack(self) -> list[Any]:
        """The values of this thread, the one on top last."""
        found: list[Any] = getattr(self._local, "stack", None) or []
        return found

    @property
    def top(self) -> Any:
        """The value on top; None for an empty stack."""
        return self.stack[-1] if self.stack else None


class LocalManager:
    """Forgets the values of a thread in several locals at once.

    Args:
        locals: one ``Local``, or several.
        ident_func: tells threads apart, in all of them; by default by their number.
    """

    def __init__(self, locals: Any = None, ident_func: Callable[[], Any] | None = None) -> None:
        given: Iterable[Any] = [locals] if isinstance(locals, Local) else locals or ()
        self.locals = list(given)
        self.ident_func = ident_func or get_ident
        if ident_func is not None:
            for local in self.locals:
                object.__setattr__(local, "__ident_func__", ident_func)

    def get_ident(self) -> Any:
        """Return what tells this thread from others."""
        return self.ident_func()

    def cleanup(self) -> None:
        """Forget the values of this thread."""
        for local in self.locals:
            release_local(local)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} storages: {len(self.locals)}>"
