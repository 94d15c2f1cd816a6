"""The two libraries of greenlets, gevent and eventlet, with what the pools need of them.

Only a child process uses them. It has patched the standard library (``PATCHES``) before it imports anything else: in a
process with greenlets, each call that would block has to let the others run instead. That is true of calls through
``socket``, ``ssl``, ``time``, ``threading``, ``queue``, ``subprocess`` and ``select``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

from taskq_cloud.errors import ImproperlyConfigured

PATCHES: Final = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
"""The library -> the statements that replace what blocks in the standard library."""


class Timer(Protocol):
    """A timer of a hub."""

    def cancel(self) -> None:
        """Let the timer do nothing. Cancelling it again has no effect."""
        ...


class Hub(Protocol):
    """A library of greenlets."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start a greenlet, and return it. It runs once the calling greenlet waits."""
        ...

    def current(self) -> Any:
        """Return the greenlet that calls this."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let other greenlets run for a time."""
        ...

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Call a function after a time, in the greenlet of the hub.

        While that runs, all others wait. So the function can raise an exception in any of them (``greenlet.throw``).
        """
        ...

    def original(self, module: str, name: str) -> Any:
        """Return a function of the standard library as it was before it was patched."""
        ...


class Gevent:
    """The library gevent."""

    def __init__(self) -> None:
        self._gevent = import_module("gevent")
        self._monkey = import_module("gevent.monkey")

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start a greenlet, and return it."""
        return self._gevent.spawn(function, *args)

    def current(self) -> Any:
        """Return the greenlet that calls this."""
        return self._gevent.getcurrent()

    def sleep(self, seconds: float) -> None:
        """Let other greenlets run for a time."""
        self._gevent.sleep(seconds)

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Call a function after a time, in the greenlet of the hub."""
        timer = self._gevent.get_hub().loop.timer(seconds)
        timer.start(function, *args, update=True)
        return _GeventTimer(timer)

    def original(self, module: str, name: str) -> Any:
        """Return a function of the standard library as it was before it was patched."""
        return self._monkey.get_original(module, name)


class _GeventTimer:
    def __init__(self, timer: Any) -> None:
        self._timer = timer

    def cancel(self) -> None:
        """Let the timer do nothing."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()


class Eventlet:
    """The library eventlet."""

    def __init__(self) -> None:
        self._eventlet = import_module("eventlet")
        self._hubs = import_module("eventlet.hubs")
        self._patcher = import_module("eventlet.patcher")

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start a greenlet, and return it."""
        return self._eventlet.spawn(function, *args)

    def current(self) -> Any:
        """Return the greenlet that calls this."""
        return self._eventlet.getcurrent()

    def sleep(self, seconds: float) -> None:
        """Let other greenlets run for a time."""
        self._eventlet.sleep(seconds)

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Call a function after a time, in the greenlet of the hub."""
        timer: Timer = self._hubs.get_hub().schedule_call_global(seconds, function, *args)
        return timer

    def original(self, module: str, name: str) -> Any:
        """Return a function of the standard library as it was before it was patched."""
        return getattr(self._patcher.original(module), name)


def check_unpatched() -> None:
    """Check that the standard library of this process is as it is: a worker's event loop would never wake up.

    Raises:
        ImproperlyConfigured: gevent or eventlet has patched it.
    """
    patches = {"gevent": ("gevent.monkey", "is_module_patched"), "eventlet": ("eventlet.patcher", "is_monkey_patched")}
    for name, (module, function) in patches.items():
        if module in sys.modules and getattr(sys.modules[module], function)("select"):
            raise ImproperlyConfigured(
                f"{name} has patched the standard library of the worker's own process, which can't work then: remove "
                f"the call from the modules that the worker imports. --pool {name} patches the process of the tasks "
                "by itself, before it imports anything"
            )


def make_hub(name: str) -> Hub:
    """Return the library of this name, which has to be installed."""
    return Gevent() if name == "gevent" else Eventlet()
