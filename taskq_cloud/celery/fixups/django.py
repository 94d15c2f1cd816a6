"""An application in a Django project: its settings, its task modules, and its database connections.

The fixup applies if the environment variable ``DJANGO_SETTINGS_MODULE`` is set, as in Celery's guide for Django.
"""

from __future__ import annotations

import os
import sys
import warnings
from datetime import datetime
from typing import Any

from taskq_cloud.celery.exceptions import FixupWarning

__all__ = ("DjangoFixup", "fixup")


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> Any:
    """Adapt an application to Django, if the environment names the settings of a project; otherwise return None.

    Args:
        app: the application.
        env: the environment variable.
    """
    settings = os.environ.get(env)
    if not settings or "django" in str(app.loader_cls).lower():
        return None
    try:
        import django  # the project's, which may not be there
    except ImportError:
        warnings.warn(
            FixupWarning(f"{env} is set, and Django is not installed: its connections are not cared for"), stacklevel=2
        )
        return None
    if django.VERSION < (2, 2):
        from taskq_cloud.celery.exceptions import ImproperlyConfigured  # few projects are that old

        raise ImproperlyConfigured(f"Django {django.get_version()} is not supported: use 2.2 or newer")
    return DjangoFixup(app).install()


class DjangoFixup:
    """What an application does differently in a Django project.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        if _custom_task(app) is False:
            app.task_cls = "taskq_cloud.celery.contrib.django.task:DjangoTask"

    def install(self) -> DjangoFixup:
        """Let the application's signals call this fixup."""
        from taskq_cloud.celery import signals  # a process without Django connects none

        folder = os.getcwd()
        if folder not in sys.path:
            sys.path.insert(0, folder)
        signals.import_modules.connect(self.on_import_modules)
        signals.worker_init.connect(self.on_worker_init)
        signals.worker_process_init.connect(self.on_worker_process_init)
        signals.task_prerun.connect(self.on_task_prerun)
        signals.task_postrun.connect(self.on_task_postrun)
        return self

    def on_import_modules(self, **_: Any) -> None:
        """Set Django up before task modules, which use its models, are imported."""
        import django  # the fixup found it

        self.validate_models(django)

    def on_worker_init(self, **_: Any) -> None:
        """Set Django up in a worker, and close the connections that were opened meanwhile."""
        self.on_import_modules()
        self.close_database()
        self.close_cache()

    def on_worker_process_init(self, **_: Any) -> None:
        """Close the connections that a pool process has inherited."""
        if os.environ.get("FORKED_BY_MULTIPROCESSING"):
            self.on_import_modules()
        self.close_database()
        self.close_cache()

    def on_task_prerun(self, sender: Any, **_: Any) -> None:
        """Close connections that are too old before a task, unless it runs in place."""
        if not getattr(sender.request, "is_eager", False):
            self.close_database()

    def on_task_postrun(self, sender: Any, **_: Any) -> None:
        """Close connections that are too old after a task, unless it runs in place."""
        if not getattr(sender.request, "is_eager", False):
            self.close_database()
            self.close_cache()

    def validate_models(self, django: Any) -> None:
        """Set Django up, and run its checks unless ``CELERY_SKIP_CHECKS`` is set."""
        django.setup()
        if os.environ.get("CELERY_SKIP_CHECKS"):
            return
        from django.core.checks import run_checks  # needs Django's settings

        run_checks()

    def close_database(self) -> None:
        """Close database connections that are broken or too old, as Django does around requests."""
        from django.db import connections  # needs Django's settings

        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()

    def close_cache(self) -> None:
        """Close the connections of caches, as Django does after requests."""
        from django.core.cache import close_caches  # needs Django's settings

        close_caches()

    def autodiscover_tasks(self) -> list[str]:
        """The packages of the project's applications."""
        from django.apps import apps  # needs Django's settings

        return [config.name for config in apps.get_app_configs()]

    def now(self, utc: bool = False) -> datetime:
        """The time, as Django's settings want it."""
        from django.utils import timezone  # needs Django's settings

        now: datetime = datetime.now(tz=timezone.get_current_timezone()) if utc else timezone.now()
        return now


def _custom_task(app: Any) -> bool:
    return bool(app.task_cls != "taskq_cloud.celery.app.task:Task")
