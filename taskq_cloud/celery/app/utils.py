"""Tools of an application: its settings, its report for bug trackers, its pickling, and finding it by name.

``_settings`` has the settings, and ``_shown_settings`` takes secrets out of them.
"""

from __future__ import annotations

import platform as _platform
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from taskq_cloud.celery.app._settings import PendingConfiguration, Settings
from taskq_cloud.celery.app._settings_formats import (
    E_MIX_NEW_INTO_OLD,
    E_MIX_OLD_INTO_NEW,
    FMT_REPLACE_SETTING,
    _new_key_to_old,
    _old_key_to_new,
    _old_settings_info,
    _settings_info,
    _settings_info_t,
    detect_settings,
    load_config,
)
from taskq_cloud.celery.app._shown_settings import (
    HIDDEN_SETTINGS,
    _redact_azure_connection_string,
    filter_hidden_settings,
    sanitize_url,
)
from taskq_cloud.celery.utils.imports import import_from_cwd, qualname, symbol_by_name

__all__ = (
    "E_MIX_NEW_INTO_OLD",
    "E_MIX_OLD_INTO_NEW",
    "FMT_REPLACE_SETTING",
    "HIDDEN_SETTINGS",
    "AppPickler",
    "PendingConfiguration",
    "Settings",
    "_new_key_to_old",
    "_old_key_to_new",
    "_old_settings_info",
    "_redact_azure_connection_string",
    "_settings_info",
    "_settings_info_t",
    "_unpickle_app",
    "_unpickle_app_v2",
    "appstr",
    "bugreport",
    "detect_settings",
    "filter_hidden_settings",
    "find_app",
    "load_config",
    "sanitize_url",
)

BUGREPORT_INFO: Final = """
software -> taskq_cloud:{taskq_v} celery:{celery_v} py:{py_v}
            {driver_v}
platform -> system:{system} arch:{arch}
            kernel version:{kernel_version} imp:{py_i}
loader   -> {loader}
settings -> transport:{transport} results:{results}

{human_settings}
"""
"""The form of the report for bug trackers."""


def appstr(app: Any) -> str:
    """Return the text that tells an application from others, for its representation."""
    return f"{app.main or '__main__'} at {id(app):#x}"


class AppPickler:
    """Makes an application of the arguments of its ``__reduce_args__``."""

    def __call__(self, cls: Callable[..., Any], *args: Any) -> Any:
        """Make the application, and set its changed settings."""
        kwargs = self.build_kwargs(*args)
        app = self.construct(cls, **kwargs)
        self.prepare(app, **kwargs)
        return app

    def prepare(self, app: Any, **kwargs: Any) -> None:
        """Set the application's changed settings."""
        app.conf.update(kwargs["changes"])

    def build_kwargs(self, *args: Any) -> dict[str, Any]:
        """Return the keyword arguments for the arguments of ``__reduce_args__``."""
        return self.build_standard_kwargs(*args)

    def build_standard_kwargs(
        self,
        main: Any,
        changes: Any,
        loader: Any,
        backend: Any,
        amqp: Any,
        events: Any,
        log: Any,
        control: Any,
        accept_magic_kwargs: Any,
        config_source: Any = None,
        config_source_silent: bool = False,
    ) -> dict[str, Any]:
        """Return the keyword arguments of an application that doesn't become the current one."""
        return {
            "main": main,
            "loader": loader,
            "backend": backend,
            "amqp": amqp,
            "changes": changes,
            "events": events,
            "log": log,
            "control": control,
            "set_as_current": False,
            "config_source": config_source,
            "config_source_silent": config_source_silent,
        }

    def construct(self, cls: Callable[..., Any], **kwargs: Any) -> Any:
        """Make the application."""
        return cls(**kwargs)


def _unpickle_app(cls: Callable[..., Any], pickler: type[AppPickler], *args: Any) -> Any:
    """Make an application of positional arguments, by a pickler."""
    return pickler()(cls, *args)


def _unpickle_app_v2(cls: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    """Make an application of keyword arguments; it doesn't become the current one."""
    kwargs["set_as_current"] = False
    return cls(**kwargs)


def bugreport(app: Any) -> str:
    """Return facts about an application and its environment that help with a report of a bug."""
    from importlib.metadata import version

    from taskq_cloud import celery as surface

    try:
        connection = app.connection()
        transport, driver = connection.transport_cls, getattr(connection, "transport", None)
        driver_v = f"{driver.driver_name}:{driver.driver_version()}" if driver else ""
    except Exception as error:
        transport, driver_v = "", f"({type(error).__name__}: {error})"
    return BUGREPORT_INFO.format(
        system=_platform.system(),
        arch=", ".join(part for part in _platform.architecture() if part),
        kernel_version=_platform.release(),
        py_i=_platform.python_implementation(),
        taskq_v=version("taskq_cloud"),
        celery_v=getattr(surface, "__version__", ""),
        py_v=_platform.python_version(),
        driver_v=driver_v,
        transport=transport,
        results=sanitize_url(app.conf.result_backend or "disabled"),
        human_settings=app.conf.humanize(),
        loader=qualname(type(app.loader)),
    )


def find_app(
    app: str, symbol_by_name: Callable[..., Any] = symbol_by_name, imp: Callable[..., Any] = import_from_cwd
) -> Any:
    """Find an application by the name of its module, or of an attribute: ``shop``, ``shop.celery``, ``shop:app``.

    A module's application is its ``app`` or ``celery``, the one of the module ``celery`` in its package, or any other
    application that it holds.

    Args:
        app: the name.
        symbol_by_name: imports an attribute by its name.
        imp: imports a module by its name.

    Raises:
        AttributeError: the module holds no application.
    """
    try:
        found = symbol_by_name(app, imp=imp)
    except AttributeError:
        found = imp(app)
    if not isinstance(found, ModuleType) or ":" in app:
        return found
    for name in ("app", "celery"):
        candidate = getattr(found, name, None)
        if candidate is not None and not isinstance(candidate, ModuleType):
            return candidate
    if getattr(found, "__path__", None):
        try:
            return find_app(f"{app}.celery", symbol_by_name=symbol_by_name, imp=imp)
        except ImportError:  # the package has no such module
            pass
    from taskq_cloud.celery.app.base import Celery

    for candidate in vars(found).values():
        if isinstance(candidate, Celery):
            return candidate
    reason = (
        "attribute 'celery' is the celery module not the instance of celery"
        if hasattr(found, "celery")
        else f"module {found.__name__!r} has no attribute 'celery'"
    )
    raise AttributeError(reason)
