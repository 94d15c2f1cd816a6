"""Applications for tests, and the state of the process before and after them."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from typing import Any, Final

from taskq_cloud.celery import Celery, _state
from taskq_cloud.celery.utils.imports import symbol_by_name

__all__ = ("DEFAULT_TEST_CONFIG", "TestApp", "Trap", "UnitLogging", "set_trap", "setup_default_app")

#: The settings of an application for tests: its messages and results stay in the memory of the process.
DEFAULT_TEST_CONFIG: Final[dict[str, Any]] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_url": "memory://",
    "result_backend": "cache+memory://",
    "broker_heartbeat": 0,
}

# What mock and inspect look for in every object; asking for them uses no application.
_LOOKED_FOR_BY_MOCK = ("_is_coroutine", "__func__")


class Trap:
    """An object in the place of the current application that refuses to be used.

    It finds code that isn't given the application that it should use.
    """

    def __getattr__(self, name: str) -> Any:
        if name in _LOOKED_FOR_BY_MOCK:
            return None
        raise RuntimeError("Test depends on current_app")


class UnitLogging(symbol_by_name(Celery.log_cls)):  # type: ignore[misc]  # the class that applications use
    """The logging of an application for tests, which leaves the loggers of the process as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.already_setup = True


def TestApp(
    name: str | None = None,
    config: dict[str, Any] | None = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = UnitLogging,
    backend: Any = None,
    broker: Any = None,
    **kwargs: Any,
) -> Any:
    """Return an application for tests.

    Args:
        name: the application's name.
        config: settings beside, or in place of, ``DEFAULT_TEST_CONFIG``.
        enable_logging: whether the application may set up loggers.
        set_as_current: whether it becomes the current application of the thread.
        log: the class of its logging, unless logging is enabled.
        backend: the result backend.
        broker: the broker.
        kwargs: more arguments of ``Celery``.
    """
    import_module("taskq_cloud.celery.contrib.testing.tasks")  # declares ``celery.ping``
    settings = {**deepcopy(DEFAULT_TEST_CONFIG), **(config or {})}
    if broker is not None:
        settings.pop("broker_url", None)
    if backend is not None:
        settings.pop("result_backend", None)
    app = Celery(
        name or "celery.tests",
        set_as_current=set_as_current,
        log=None if enable_logging else log,
        broker=broker,
        backend=backend,
        **kwargs,
    )
    app.add_defaults(settings)
    return app


@contextmanager
def set_trap(app: Any) -> Iterator[None]:
    """Let every use of the current or the default application fail within a block."""
    trap = Trap()
    before = _state._tls.current_app
    _state.set_default_app(trap)
    _state._tls.current_app = trap
    try:
        yield
    finally:
        _state._tls.current_app = before


@contextmanager
def setup_default_app(app: Any, use_trap: bool = False) -> Iterator[None]:
    """Restore the current and the default application after a block, and what was registered with them.

    Args:
        app: the application of the test, which is closed at the end unless it was the current one before.
        use_trap: whether every use of the current or the default application fails within the block.
    """
    current_before, default_before = _state.get_current_app(), _state.default_app
    finalizers, apps = set(_state._on_app_finalizers), set(_state._apps)
    try:
        if use_trap:
            with set_trap(app):
                yield
        else:
            yield
    finally:
        _state.set_default_app(default_before)
        _state._tls.current_app = current_before
        if app is not current_before:
            app.close()
        _restore(_state._on_app_finalizers, finalizers)
        _restore(_state._apps, apps)


def _restore(collection: Any, before: set[Any]) -> None:
    for added in set(collection) - before:
        collection.discard(added)
    for each in before:
        collection.add(each)
