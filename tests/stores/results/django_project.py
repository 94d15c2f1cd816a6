"""Django's settings for the tests of a module, in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import django
import pymysql
from asgiref.local import Local
from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.utils.functional import empty

RESULTS_APP = "django_celery_results"
_APPS = (RESULTS_APP,)


def database_settings(url: str) -> dict[str, Any]:
    """The entry of DATABASES for a URL: ``sqlite:///path``, ``postgresql://...`` or ``mysql+pymysql://...``."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # The tests need nothing that a loss of power would undo.
        options = {"init_command": "PRAGMA synchronous = OFF"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path.removeprefix("/"), "OPTIONS": options}
    engine = "postgresql" if parts.scheme == "postgresql" else "mysql"
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "NAME": parts.path.removeprefix("/"),
    }


@contextmanager
def configured(
    databases: Mapping[str, Any], installed: tuple[str, ...] = (RESULTS_APP,), **more: Any
) -> Iterator[None]:
    """Configure Django for a block: no other test of this process may find its settings, nor its time zone.

    Outside of a block with ``override_settings(TIME_ZONE=...)``, Django leaves the process in its own default zone.
    """
    # Django's backend for MySQL knows one driver, for which this one stands in, as PyMySQL's documentation shows.
    pymysql.version_info = (2, 2, 1, "final", 0)
    pymysql.install_as_MySQLdb()
    before, zone = settings._wrapped, os.environ.get("TZ")
    settings._wrapped = empty
    settings.configure(
        DATABASES=dict(databases) or {"default": {}},
        INSTALLED_APPS=list(_APPS),
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        SECRET_KEY="for tests",
        **more,
    )
    handlers = (connections, caches)
    kept = [dict(handler.__dict__) for handler in handlers]
    for handler in handlers:
        handler.__dict__.pop("settings", None)
        handler._settings, handler._connections = None, Local(handler.thread_critical)
    django.setup()
    apps.set_installed_apps(installed)
    try:
        yield
    finally:
        connections.close_all()
        for handler, state in zip(handlers, kept, strict=True):
            handler.__dict__.clear()
            handler.__dict__.update(state)
        apps.unset_installed_apps()
        settings._wrapped = before
        if zone is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone
        time.tzset()


def create_results_tables(alias: str) -> None:
    """Create the tables of django-celery-results in a database, as its migrations leave them."""
    with connections[alias].schema_editor() as editor:
        for model in apps.get_app_config(RESULTS_APP).get_models():
            editor.create_model(model)
