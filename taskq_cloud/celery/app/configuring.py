"""The configuration of an application: where it is read from, and when (``Configured``)."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from taskq_cloud.celery.app.defaults import find_deprecated_settings
from taskq_cloud.celery.app.utils import (
    PendingConfiguration,
    Settings,
    _new_key_to_old,
    _old_key_to_new,
    detect_settings,
)
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.local import maybe_evaluate
from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.dispatch import Signal
from taskq_cloud.celery.utils.time import timezone as zones

logger = logging.getLogger("taskq_cloud.celery.app")


class Configured:
    """The part of an application that holds its settings.

    They are read when a setting is first looked up; a setting that was set before that stays.
    """

    configured: bool
    on_configure: Any = None
    on_after_configure: Any
    loader: Any
    namespace: str | None
    _conf: Any

    def _prepare_conf(
        self, source: Any, namespace: str | None, silent: bool, changes: Any, given: Mapping[str, Any], /
    ) -> None:
        """Take note of the settings that the constructor got."""
        self.namespace = namespace
        self._config_source, self._config_source_silent = source, silent
        self._pending_defaults: deque[Any] = deque()
        self._pending_periodic: deque[tuple[str, dict[str, Any], bool]] = deque()
        self._preconf: dict[str, Any] = changes or {}
        self._preconf_set_by_auto: set[str] = set()
        for name, value in given.items():
            self._set_given(name, value)
        self._conf = Settings(
            PendingConfiguration(self._preconf, self._finalize_pending_conf),
            prefix=namespace,
            keys=(_old_key_to_new, _new_key_to_old),
        )

    def _set_given(self, name: str, value: Any) -> None:
        if value is not None:
            self._preconf[name] = value
            self._preconf_set_by_auto.add(name)

    @property
    def conf(self) -> Any:
        """The settings, as a mapping and by attribute."""
        if self._conf is None:
            self._conf = self._load_config()
        return self._conf

    @conf.setter
    def conf(self, value: Any) -> None:
        self._conf = value

    def _finalize_pending_conf(self) -> Any:
        try:
            conf = self._conf = self._load_config()
        except AttributeError as error:
            # A mapping that is asked for an attribute would take this error for a missing setting.
            raise ModuleNotFoundError(*error.args) from error
        return conf

    def _load_config(self) -> Any:
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()
        if self._config_source:
            self.loader.config_from_object(self._config_source, silent=self._config_source_silent)
        self.configured = True
        settings = detect_settings(
            self.prepare_config(self.loader.conf),
            self._preconf,
            ignore_keys=self._preconf_set_by_auto,
            prefix=self.namespace,
        )
        if self._conf is None:
            self._conf = settings
        else:
            # Someone may hold app.conf already: the object stays, and gets the settings.
            self._conf.swap_with(settings)
        while self._pending_defaults:
            self._conf.add_defaults(maybe_evaluate(self._pending_defaults.popleft()()))
        while self._pending_periodic:
            key, entry, named = self._pending_periodic.popleft()
            self._put_periodic_entry(key, entry, named=named)
        self.on_after_configure.send(sender=self, source=self._conf)
        return self._conf

    def prepare_config(self, c: Any) -> Any:
        """Change the configuration that was read, before it is joined with the defaults."""
        return find_deprecated_settings(c)

    def config_from_object(self, obj: Any, silent: bool = False, force: bool = False, namespace: Any = None) -> Any:
        """Read the settings from an object, or from a module with this path, when a setting is first looked up.

        Args:
            obj: the object or the path.
            silent: don't fail if the module can't be imported.
            force: read it now.
            namespace: the prefix of settings: with ``"CELERY"``, ``CELERY_TASK_ROUTES`` is ``task_routes``.
        """
        self._config_source, self._config_source_silent = obj, silent
        self.namespace = namespace or self.namespace
        if (force or self.configured) and self.loader.config_from_object(obj, silent=silent):
            self._conf = None
            return self.conf
        return None

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> Any:
        """Read the settings from the module that an environment variable names.

        Raises:
            ImproperlyConfigured: the variable isn't set.
        """
        module = os.environ.get(variable_name)
        if module:
            return self.config_from_object(module, silent=silent, force=force)
        if silent:
            return False
        raise ImproperlyConfigured(
            f"the environment variable {variable_name!r} is not set, so there is no configuration to load: set it to "
            f'the name of a module that has the settings, such as {variable_name}="proj.celeryconfig"'
        )

    def config_from_cmdline(self, argv: Any, namespace: str = "celery") -> None:
        """Read settings from arguments such as ``worker.concurrency=10``."""
        self._conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def add_defaults(self, fun: Any) -> Any:
        """Add settings that count where nothing else sets them: a mapping, or a function that returns one later."""
        given = fun if callable(fun) else lambda: fun
        if self.configured:
            return self._conf.add_defaults(given())
        self._pending_defaults.append(given)
        return None

    def _add_periodic_entry(self, key: str, entry: dict[str, Any], *, named: bool) -> None:
        if self.configured:
            self._put_periodic_entry(key, entry, named=named)
        else:
            self._pending_periodic.append((key, entry, named))

    def _put_periodic_entry(self, key: str, entry: dict[str, Any], *, named: bool) -> None:
        if not named and key in self._conf.beat_schedule:
            logger.warning(
                "two periodic tasks without a name have the key %r, and the second one replaces the first: give "
                "add_periodic_task a name",
                key,
            )
        self._conf.beat_schedule = {**self._conf.beat_schedule, key: entry}

    # -- time

    @cached_property
    def timezone(self) -> tzinfo:
        """The time zone: of the setting ``timezone``, or UTC, or the machine's with ``enable_utc=False``."""
        conf = self.conf
        zone: tzinfo = (
            zones.get_timezone(conf.timezone) if conf.timezone else zones.utc if conf.enable_utc else zones.local
        )
        return zone

    def now(self) -> datetime:
        """The time, in the application's time zone."""
        return datetime.now(UTC).astimezone(self.timezone)

    def uses_utc_timezone(self) -> bool:
        """Whether the application's time zone is UTC."""
        return bool(self.timezone == zones.utc)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """Return the first of these values that isn't None, or else a setting."""
        given = next((value for value in defaults if value is not None), None)
        return self.conf.get(default_key) if given is None else given
