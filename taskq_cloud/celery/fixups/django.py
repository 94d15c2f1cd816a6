"""An application in a Django project: its settings, its task modules, and its database connections.

The fixup applies if the environment variable ``DJANGO_SETTINGS_MODULE`` is set, as in Celery's guide for Django.
``DjangoFixup`` is there in every process of the project, ``DjangoWorkerFixup`` in those that run tasks.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

from taskq_cloud.celery import _state, signals
from taskq_cloud.celery.exceptions import FixupWarning, ImproperlyConfigured
from taskq_cloud.celery.local import Proxy
from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.imports import symbol_by_name

__all__ = ("DjangoFixup", "DjangoWorkerFixup", "fixup")

_OLDEST: Final = (2, 2)


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> Any:
    """Adapt an application to Django, if the environment names the settings of a project; otherwise return None.

    Args:
        app: the application.
        env: the environment variable.

    Raises:
        ImproperlyConfigured: Django is too old.
    """
    if not os.environ.get(env) or "django" in str(app.loader_cls).lower():
        return None
    try:
        import django  # the project's, which may not be there
    except ImportError:
        warnings.warn(
            FixupWarning(f"{env} is set, and Django is not installed: its connections are not cared for"), stacklevel=2
        )
        return None
    _verify_django_version(django)
    return DjangoFixup(app).install()


def _verify_django_version(django: ModuleType) -> None:
    if django.VERSION < _OLDEST:
        raise ImproperlyConfigured("this version of Django is not supported: use 2.2 or newer")


class DjangoFixup:
    """What an application does differently in a Django project.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        if _state.default_app is None:
            app.set_default()
        self._worker_fixup: Any = None
        self._uid = uuid4().hex

    def install(self) -> DjangoFixup:
        """Let the application's signals call this fixup."""
        folder = str(Path.cwd())
        if sys.path[:1] != [folder]:
            sys.path.insert(0, folder)
        self.app.loader.now = self.now
        if not self.app._custom_task_cls_used:
            self.app.task_cls = "taskq_cloud.celery.contrib.django.task:DjangoTask"
        signals.import_modules.connect(self.on_import_modules, sender=self.app)
        signals.worker_init.connect(self.on_worker_init, dispatch_uid=("taskq_cloud.celery.fixups.django", self._uid))
        signals.worker_process_init.connect(self.on_process_init)
        signals.worker_ready.connect(self.on_worker_ready)
        return self

    @property
    def worker_fixup(self) -> Any:
        """The fixup of a process that runs tasks."""
        if self._worker_fixup is None:
            self._worker_fixup = DjangoWorkerFixup(self.app)
        return self._worker_fixup

    @worker_fixup.setter
    def worker_fixup(self, value: Any) -> None:
        self._worker_fixup = value

    def on_import_modules(self, **_: Any) -> None:
        """Set Django up before task modules, which use its models, are imported."""
        self.worker_fixup.validate_models()

    def on_worker_init(self, sender: Any = None, **_: Any) -> None:
        """Let tasks close their connections, in a worker of this application."""
        if not sender:
            warnings.warn(
                FixupWarning("worker_init was sent without the worker: it is taken for one of this application"),
                stacklevel=2,
            )
        elif (of := _without_proxy(getattr(sender, "app", None))) is not None and of is not _without_proxy(self.app):
            return
        else:
            self.worker_fixup.worker = sender
        self.worker_fixup.install()

    def on_process_init(self, **_: Any) -> None:
        """Let tasks close their connections, in a process of a native worker's pool and in a function."""
        self.worker_fixup.install().on_worker_process_init()

    def on_worker_ready(self, **_: Any) -> None:
        """Let tasks close their connections, in a worker that ``taskq worker`` runs."""
        self.worker_fixup.install()

    def now(self, utc: bool = False) -> datetime:
        """The time: in UTC, or as Django's settings want it."""
        now: datetime = datetime.now(UTC) if utc else self._now()
        return now

    @cached_property
    def _now(self) -> Any:
        return symbol_by_name("django.utils.timezone:now")

    def autodiscover_tasks(self) -> list[str]:
        """The packages of the project's applications."""
        from django.apps import apps  # needs Django's settings

        return [config.name for config in apps.get_app_configs()]


class DjangoWorkerFixup:
    """What a process that runs the tasks of a Django project does before and after each of them.

    Args:
        app: the application.
    """

    _db_recycles = 0
    worker: Any = None

    def __init__(self, app: Any) -> None:
        self.app = app
        self.db_reuse_max = app.conf.get("CELERY_DB_REUSE_MAX", None)
        self._db: Any = import_module("django.db")
        self._cache: Any = import_module("django.core.cache")
        self._settings = symbol_by_name("django.conf:settings")
        self.interface_errors: tuple[Any, ...] = (symbol_by_name("django.db.utils.InterfaceError"),)
        self.DatabaseError = symbol_by_name("django.db:DatabaseError")

    def django_setup(self) -> None:
        """Set Django up."""
        import django  # the fixup found it

        django.setup()

    def validate_models(self) -> None:
        """Set Django up, and run its checks unless ``CELERY_SKIP_CHECKS`` is set."""
        from django.core.checks import run_checks  # needs Django

        self.django_setup()
        if not os.environ.get("CELERY_SKIP_CHECKS"):
            run_checks()

    def install(self) -> DjangoWorkerFixup:
        """Let the signals of tasks call this fixup, and close what was opened before the first task."""
        signals.beat_embedded_init.connect(self.close_database)
        signals.task_prerun.connect(self.on_task_prerun)
        signals.task_postrun.connect(self.on_task_postrun)
        signals.worker_process_init.connect(self.on_worker_process_init)
        self.close_database()
        self.close_cache()
        return self

    def on_worker_process_init(self, **_: Any) -> None:
        """Close the connections that a pool process has inherited, without a word to the database."""
        if os.environ.get("FORKED_BY_MULTIPROCESSING"):
            self.validate_models()
        for connection in self._db.connections.all():
            if connection and connection.connection:
                self._maybe_close_db_fd(connection)
        self._close_database()
        self.close_cache()

    def _maybe_close_db_fd(self, connection: Any) -> None:
        # The parent process goes on to use the connection: closing it properly would end it for both.
        with contextlib.suppress(*self.interface_errors), connection.wrap_database_errors:
            _maybe_close_fd(connection.connection)

    def on_task_prerun(self, sender: Any, **_: Any) -> None:
        """Close database connections before a task, unless it runs in place."""
        if not getattr(sender.request, "is_eager", False):
            self.close_database()

    def on_task_postrun(self, sender: Any, **_: Any) -> None:
        """Close connections after a task, unless it runs in place."""
        if not getattr(sender.request, "is_eager", False):
            self.close_database()
            self.close_cache()

    def close_database(self, **_: Any) -> None:
        """Close database connections; with the setting ``CELERY_DB_REUSE_MAX``, after so many tasks only."""
        if not self.db_reuse_max:
            self._close_database()
            return
        if self._db_recycles >= self.db_reuse_max * 2:  # a task calls this before and after it runs
            self._db_recycles = 0
            self._close_database()
        self._db_recycles += 1

    def _close_database(self) -> None:
        try:
            connections = self._db.connections.all(initialized_only=True)
        except TypeError:  # before Django 4.1
            connections = self._db.connections.all()
        for connection in connections:
            try:
                connection.close()
                self._close_pool(connection)
            except self.interface_errors:
                continue
            except self.DatabaseError as error:
                if "closed" not in str(error) and "not connected" not in str(error):
                    raise

    def _close_pool(self, connection: Any) -> None:
        """Close Django's own pool of connections in a worker that forks processes, which must not share it."""
        options = self._settings.DATABASES.get(connection.alias, {}).get("OPTIONS", {})
        if options.get("pool") and self._is_prefork() and hasattr(connection, "close_pool"):
            with contextlib.suppress(KeyError):
                connection.close_pool()

    def _is_prefork(self) -> bool:
        pool = getattr(self.worker, "pool_cls", "")
        return "prefork" in (pool if isinstance(pool, str) else pool.__module__)

    def close_cache(self) -> None:
        """Close the connections of caches, as Django does after requests."""
        with contextlib.suppress(TypeError, AttributeError):
            self._cache.close_caches()


def _without_proxy(app: Any) -> Any:
    return app._get_current_object() if isinstance(app, Proxy) else app


def _maybe_close_fd(file: Any) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        os.close(file.fileno())
