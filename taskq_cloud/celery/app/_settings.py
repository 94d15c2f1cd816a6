"""The configuration of an application: its values, its changes, and the formats of its names."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import Callable
from functools import cached_property
from itertools import count
from typing import Any, Final, Self

from taskq_cloud.celery.app._shown_settings import filter_hidden_settings
from taskq_cloud.celery.app.defaults import _TO_NEW_KEY, find
from taskq_cloud.celery.utils.collections import AttributeDictMixin, ConfigurationView
from taskq_cloud.celery.utils.text import pretty

_CONTAINERS: Final = (
    "accept_content",
    "beat_schedule",
    "broker_transport_options",
    "imports",
    "include",
    "task_annotations",
    "task_queues",
    "task_routes",
)
"""Settings whose values are changed in place: ``app.conf.beat_schedule["report"] = ...``."""

_generations: Final = count(1)


class PendingConfiguration(UserDict[Any, Any], AttributeDictMixin):
    """The configuration before it is read: values are set at once, and reading one reads the whole configuration.

    Args:
        conf: the mapping that takes the values that are set.
        callback: reads the configuration and returns it.
    """

    callback: Callable[[], Any]
    _data: Any = None

    def __init__(self, conf: Any, callback: Callable[[], Any]) -> None:
        object.__setattr__(self, "_data", conf)
        object.__setattr__(self, "callback", callback)

    @cached_property
    def data(self) -> Any:  # type: ignore[override]
        """The configuration, which is read now."""
        return self.callback()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def clear(self) -> None:
        """Remove the values that were set."""
        self._data.clear()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several values."""
        self._data.update(*args, **kwargs)

    def setdefault(self, *args: Any, **kwargs: Any) -> Any:
        """Set a value that was not set."""
        return self._data.setdefault(*args, **kwargs)


class Settings(ConfigurationView):
    """The settings of an application, by Celery's new or old names, as items or attributes.

    Args:
        args: the arguments of ``ConfigurationView``: the changes, the defaults, functions that make other names, and
            the prefix of the names.
        deprecated_settings: the settings that were given under old names.
        kwargs: further arguments of ``ConfigurationView``.
    """

    def __init__(self, *args: Any, deprecated_settings: Any = None, **kwargs: Any) -> None:
        self.__dict__.update(_generation=next(_generations), _watched=None)
        super().__init__(*args, **kwargs)
        self["deprecated_settings"] = deprecated_settings

    # -- changes

    @property
    def generation(self) -> int:
        """A number that grows with every change, so that whoever made something of the settings knows when to renew it.

        No two settings of a process have one number. Dicts and lists that were changed in place are noticed, too. The
        configuration is not read for it.
        """
        watched = self.__dict__["_watched"]
        if watched is not None and any(value != copy for value, copy in watched):
            self._changed()
            watched = None
        if watched is None and not isinstance(self.changes, PendingConfiguration):
            mappings = [mapping for mapping in self.maps[:-1] if isinstance(mapping, dict)]
            values = [value for name in _CONTAINERS if isinstance(value := self.get(name), dict | list | set)]
            self.__dict__["_watched"] = [(each, each.copy()) for each in (*mappings, *values)]
        number: int = self.__dict__["_generation"]
        return number

    def _changed(self) -> None:
        self.__dict__["_generation"] = next(_generations)
        self.__dict__["_watched"] = None

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._changed()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self._changed()

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a change and return its value, or the default."""
        value = super().pop(key, *default)
        self._changed()
        return value

    def clear(self) -> None:
        """Remove all changes; the defaults stay."""
        super().clear()
        self._changed()

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Set several values, from a mapping or from keywords."""
        answer = super().update(*args, **kwargs)
        self._changed()
        return answer

    def add_defaults(self, d: Any) -> None:
        """Add a mapping that comes directly after the changes."""
        super().add_defaults(d)
        self._changed()

    def swap_with(self, other: ConfigurationView) -> None:
        """Take over the values of other settings."""
        super().swap_with(other)
        self._changed()

    def copy(self) -> Self:
        """Return settings with their own changes and the same defaults."""
        self.finalize()
        copied = super().copy()
        if "deprecated_settings" in self.changes:
            copied.changes["deprecated_settings"] = self.changes["deprecated_settings"]
        else:
            copied.changes.pop("deprecated_settings", None)
        return copied

    __copy__ = copy

    # -- settings that the environment or other settings stand for

    @property
    def broker_url(self) -> Any:
        """The URL of the broker: ``CELERY_BROKER_URL``, the setting, or ``broker_host``."""
        return os.environ.get("CELERY_BROKER_URL") or self.first("broker_url", "broker_host")

    @property
    def broker_read_url(self) -> Any:
        """The URL that a worker receives from: ``CELERY_BROKER_READ_URL``, the setting, or ``broker_url``."""
        return os.environ.get("CELERY_BROKER_READ_URL") or self.get("broker_read_url") or self.broker_url

    @property
    def broker_write_url(self) -> Any:
        """The URL that a caller sends to: ``CELERY_BROKER_WRITE_URL``, the setting, or ``broker_url``."""
        return os.environ.get("CELERY_BROKER_WRITE_URL") or self.get("broker_write_url") or self.broker_url

    @property
    def result_backend(self) -> Any:
        """The result backend: ``CELERY_RESULT_BACKEND``, or the setting."""
        return os.environ.get("CELERY_RESULT_BACKEND") or self.first("result_backend", "CELERY_RESULT_BACKEND")

    @property
    def task_default_exchange(self) -> Any:
        """The exchange of tasks; its default is the name of the default queue."""
        return self.first("task_default_exchange", "task_default_queue")

    @property
    def task_default_routing_key(self) -> Any:
        """The routing key of tasks; its default is the name of the default queue."""
        return self.first("task_default_routing_key", "task_default_queue")

    @property
    def timezone(self) -> Any:
        """The time zone: the setting, or Django's ``TIME_ZONE``."""
        return self.first("timezone", "TIME_ZONE")

    # -- looking settings up

    def finalize(self) -> Self:
        """Read the configuration, if it hasn't been read."""
        self.get("__bogus__")
        return self

    def without_defaults(self) -> Settings:
        """Return the settings without Celery's defaults."""
        return Settings({}, self.maps[:-1])

    def value_set_for(self, key: str) -> bool:
        """Return whether a setting has a value besides Celery's default."""
        return key in self.finalize().set_by_user()

    def set_by_user(self) -> Settings:
        """Return the settings that have a value besides Celery's default, under all names that find them."""
        return Settings({}, self.maps[:-1], self._keys, self.prefix)

    def find_option(self, name: str, namespace: str = "") -> Any:
        """Find a setting by its name without a namespace: a tuple of namespace, name and option.

        Args:
            name: the whole name in its namespace.
            namespace: the namespace that is searched first.

        Raises:
            KeyError: there is no such setting.
        """
        return find(name, namespace)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Return the value of a setting by its name without a namespace."""
        return self.get_by_parts(*self.find_option(name, namespace)[:-1])

    def get_by_parts(self, *parts: str | None) -> Any:
        """Return the value of the setting whose name has these parts, such as "worker" and "pool"."""
        return self["_".join(part for part in parts if part)]

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return the settings as a dict.

        Args:
            with_defaults: whether Celery's defaults are included.
            censored: whether secrets are masked.
        """
        self.finalize()
        settings = self if with_defaults else self.without_defaults()
        hidden = set(dir(dict))
        found = {key: value for key, value in settings.items() if not key.startswith("_") and key not in hidden}
        return filter_hidden_settings(found) if censored else found

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """Return the settings as text, one on each line; the arguments are those of ``table``."""
        settings = self.table(with_defaults, censored)
        return "\n".join(f"{key}: {pretty(value, width=50)}" for key, value in settings.items())

    def maybe_warn_deprecated_settings(self) -> bool:
        """Warn of settings that were given under old names, and return whether there are any."""
        for setting in self.deprecated_settings or ():
            from taskq_cloud.celery.utils import deprecated  # few applications have any

            deprecated.warn(
                description=f"The {setting!r} setting",
                removal="6.0.0",
                alternative=f"Use the {_TO_NEW_KEY[setting]} instead",
            )
        return bool(self.deprecated_settings)
