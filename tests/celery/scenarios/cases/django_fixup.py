"""The fixup for Django, without a project: its signals, and what it does to connections."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

from tests.celery.scenarios.library import Library


@contextmanager
def prepared(lib: Library) -> Iterator[Library]:
    from django.conf import settings

    settings.configure(DATABASES={}, INSTALLED_APPS=[], USE_TZ=True)
    yield lib


@contextmanager
def _settings_module(name: str | None) -> Iterator[None]:
    before = os.environ.get("DJANGO_SETTINGS_MODULE")
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    if name is not None:
        os.environ["DJANGO_SETTINGS_MODULE"] = name
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)
        if before is not None:
            os.environ["DJANGO_SETTINGS_MODULE"] = before


def _module(lib: Library) -> Any:
    return lib.module("fixups.django")


def applied_by_environment(lib: Library) -> Any:
    with _settings_module(None):
        without = _module(lib).fixup(lib.bare_app("x", fixups=[]))
    with _settings_module("any.settings"):
        fixup = _module(lib).fixup(lib.bare_app("x", fixups=[]))
        other = _module(lib).fixup(lib.bare_app("x", fixups=[], loader="django"))
        app = lib.bare_app("x")
    return without, type(fixup).__name__, other, [type(each).__name__ for each in app._fixups]


def classes_of_tasks(lib: Library) -> Any:
    class Application(lib.Celery):
        task_cls = f"{lib.package}.app.task:Task"

    with _settings_module("any.settings"):
        apps = (
            lib.bare_app("x"),
            lib.bare_app("y", task_cls=f"{lib.package}:Task"),
            Application("z", set_as_current=False),
        )
        return [app.Task.__mro__[1].__name__ for app in apps]


def without_django(lib: Library) -> Any:
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "django"}
    for name in hidden:
        del sys.modules[name]
    sys.modules["django"] = None  # type: ignore[assignment]
    try:
        with _settings_module("any.settings"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = _module(lib).fixup(lib.bare_app("x", fixups=[]))
    finally:
        sys.modules.update(hidden)
    return found, [each.category.__name__ for each in caught]


def path_of_project(lib: Library) -> Any:
    with _settings_module("any.settings"):
        app = lib.bare_app("x", fixups=[])
        fixup = _module(lib).DjangoFixup(app)
        same = fixup.install() is fixup
        return same, sys.path[0] == str(Path.cwd()), app.loader.now == fixup.now


def time(lib: Library) -> Any:
    fixup = _module(lib).DjangoFixup(lib.bare_app("x", fixups=[]))
    times = fixup.now(), fixup.now(utc=True)
    return [abs((datetime.now(UTC) - each).total_seconds()) < 5 for each in times]


def default_application(lib: Library) -> Any:
    state: Any = lib.module("_state")
    before = state.default_app
    try:
        state.default_app = None
        app = lib.bare_app("first", fixups=[])
        _module(lib).DjangoFixup(app)
        _module(lib).DjangoFixup(lib.bare_app("second", fixups=[]))
        return state.default_app is app
    finally:
        state.default_app = before


def signals_of_worker(lib: Library) -> Any:
    app = lib.bare_app("x", fixups=[])
    fixup = _module(lib).DjangoFixup(app)
    fixup.worker_fixup = worker_fixup = Mock(name="worker fixup")
    worker = SimpleNamespace(app=app)
    fixup.on_import_modules()
    fixup.on_worker_init(sender=worker)
    fixup.on_worker_init(sender=SimpleNamespace(app=lib.bare_app("other", fixups=[])))
    return worker_fixup.validate_models.call_count, worker_fixup.install.call_count, worker_fixup.worker is worker


def signal_without_worker(lib: Library) -> Any:
    fixup = _module(lib).DjangoFixup(lib.bare_app("x", fixups=[]))
    fixup.worker_fixup = Mock(name="worker fixup")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fixup.on_worker_init()
    return fixup.worker_fixup.install.call_count, [each.category.__name__ for each in caught]


def _worker_fixup(lib: Library, **settings: Any) -> Any:
    app = lib.bare_app("x", fixups=[])
    for name, value in settings.items():
        app.conf[name] = value
    return _module(lib).DjangoWorkerFixup(app)


def databases_are_closed(lib: Library) -> Any:
    fixup = _worker_fixup(lib)
    fixup.interface_errors, fixup.DatabaseError = (KeyError,), ValueError
    connections = [MagicMock(name=str(index)) for index in range(4)]
    connections[1].close.side_effect = KeyError("interface")
    connections[2].close.side_effect = ValueError("already closed")
    fixup._db = Mock(name="django.db")
    fixup._db.connections.all.side_effect = lambda initialized_only=False: connections
    fixup.close_database()
    closed = [each.close.call_count for each in connections]
    connections[3].close.side_effect = ValueError("other")
    return closed, lib.raised(fixup.close_database)


def databases_are_reused(lib: Library) -> Any:
    fixup = _worker_fixup(lib, CELERY_DB_REUSE_MAX=2)
    fixup._close_database = closing = Mock(name="close")
    counts = []
    for _ in range(12):
        fixup.close_database()
        counts.append(closing.call_count)
    return fixup.db_reuse_max, counts


def caches_are_closed(lib: Library) -> Any:
    fixup = _worker_fixup(lib)
    fixup._cache = Mock(name="cache")
    fixup.close_cache()
    fixup._cache.close_caches.side_effect = TypeError
    fixup.close_cache()
    return fixup._cache.close_caches.call_count


def tasks_in_place_keep_connections(lib: Library) -> Any:
    fixup = _worker_fixup(lib)
    fixup.close_database, fixup.close_cache = Mock(name="database"), Mock(name="cache")
    for is_eager in (True, False):
        task = SimpleNamespace(request=SimpleNamespace(is_eager=is_eager))
        fixup.on_task_prerun(task)
        fixup.on_task_postrun(task)
    return fixup.close_database.call_count, fixup.close_cache.call_count


def processes_forget_inherited_connections(lib: Library) -> Any:
    fixup = _worker_fixup(lib)
    fixup._close_database, fixup.close_cache = Mock(name="database"), Mock(name="cache")
    fixup._maybe_close_db_fd, fixup.validate_models = Mock(name="descriptor"), Mock(name="validate")
    fixup._db = Mock(name="django.db")
    fixup._db.connections.all.return_value = [None, Mock(connection=None), Mock(name="open")]
    fixup.on_worker_process_init()
    return [
        each.call_count
        for each in (fixup._maybe_close_db_fd, fixup._close_database, fixup.close_cache, fixup.validate_models)
    ]


def connections_to_signals(lib: Library) -> Any:
    fixup = _worker_fixup(lib)
    fixup.close_database, fixup.close_cache = Mock(name="database"), Mock(name="cache")
    same = fixup.install() is fixup
    return same, fixup.close_database.call_count, fixup.close_cache.call_count


def tasks_on_commit(lib: Library) -> Any:
    from django.db import transaction

    app = lib.bare_app("x", fixups=[], task_cls=f"{lib.package}.contrib.django.task:DjangoTask")
    calls: list[Any] = []

    @app.task(shared=False)
    def task():
        pass

    task.apply_async = lambda *args, **kwargs: calls.append((args, kwargs))
    waiting: list[Any] = []
    original, transaction.on_commit = transaction.on_commit, waiting.append
    try:
        returned = task.delay_on_commit(1, a=2), task.apply_async_on_commit((3,), countdown=4)
    finally:
        transaction.on_commit = original
    before = list(calls)
    for function in waiting:
        function()
    return returned, before, calls
