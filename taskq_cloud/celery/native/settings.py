"""Makes native settings of Celery's, and says what becomes of each of Celery's settings.

``_settings_table`` classifies every setting; ``_service_urls`` reads the URLs of brokers and result backends. Native
settings that Celery doesn't have, such as ``payloads``, may be in the configuration under their own names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta, tzinfo
from typing import Any, Final

from taskq_cloud.celery.app.defaults import _TO_NEW_KEY, DEFAULTS, NAMESPACES
from taskq_cloud.celery.native._server_brokers import orders_by_priority
from taskq_cloud.celery.native._server_stores import options_of as options_of_store
from taskq_cloud.celery.native._service_urls import broker_of, options_of, results_of
from taskq_cloud.celery.native._setting_kinds import NOTHING, Kind, Setting
from taskq_cloud.celery.native._settings_table import SETTINGS
from taskq_cloud.celery.utils.functional import maybe_list
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.plain_settings import PlainSettings, load_settings

__all__ = ["describe", "native_settings", "settings_in_use"]

logger = logging.getLogger("taskq_cloud.celery")

_NATIVE: Final = PlainSettings.model_fields
_NAMESPACES: Final = tuple(f"{name}_" for name, options in NAMESPACES.items() if isinstance(options, dict))
_ALIKE: Final = 0.85
"""The similarity from which an unknown name is taken for a mistyped one, between 0 and 1."""
_VALUES: Final = (str, bytes, bool, int, float, tuple, list, set, dict, timedelta, type(None))
"""The types of native settings' values. A module of settings may hold functions and modules of such names, too."""

_CONTAINERS: Final = ("accept_content", "beat_schedule", "broker_transport_options", "imports", "include")
"""Settings whose default may have been changed in place."""

_warned: Final[set[str]] = set()


def native_settings(conf: Any) -> dict[str, Any]:
    """Make the keyword arguments of ``TaskQ`` of an application's configuration.

    Settings that the application doesn't set are left out, so that the environment's ``TASKQ_...`` variables and the
    native defaults apply. As in Celery, results are stored only if the configuration or the environment names a store.
    A setting that has no effect here is warned of once in a process, if its value isn't Celery's default.

    Args:
        conf: the configuration, ``app.conf``.

    Raises:
        ImproperlyConfigured: a broker, a result backend or a value is not supported; the error says which one is.
    """
    conf.finalize()
    own = conf.set_by_user()
    values = {name: value for name in SETTINGS if (value := _value(conf, own, name)) is not NOTHING}
    _check_refused(values)
    given = dict(_native(values))
    given |= {name: own[name] for name in sorted(_NATIVE - SETTINGS.keys()) if name in own and _is_value(own[name])}
    if (broker := broker_of(conf)) is not None:
        given["broker"] = broker
    if options := options_of(conf, broker):
        given["broker_transport_options"] = options
    if broker is not None and orders_by_priority(broker, options):
        given.pop("task_queue_max_priority", None)  # it would give each level of priority a queue of its own
    if (results := results_of(conf)) is not None:
        given["results"] = results
        if store_options := options_of_store(conf, results):
            given["result_backend_transport_options"] = store_options
    elif given.get("results") is None and load_settings({}).results is None:
        given["results"] = "disabled://"
    if modules := _modules(conf):
        given["imports"] = modules
    if (zone := conf.timezone) is not None:
        given["timezone"] = _zone_name(zone)
    _warn(values)
    _warn_of_unknown(own)
    return given


def settings_in_use(conf: Any) -> dict[str, Any]:
    """Return the settings of which ``native_settings`` makes something, as a copy that a later one is compared with.

    Settings that this package itself honours are left out, and a project's own values beside Celery's settings.

    Args:
        conf: the configuration, ``app.conf``.
    """
    conf.finalize()
    own = conf.set_by_user()
    found = {key: own[key] for key in own if isinstance(key, str) and _is_in_use(_new_name(key, own.prefix))}
    urls = {name: getattr(conf, name) for name in ("broker_read_url", "broker_write_url", "result_backend", "timezone")}
    defaults = {name: value for name in _CONTAINERS if (value := conf.get(name)) and name not in found}
    return {name: _copied(value) for name, value in (found | defaults | urls).items()}


def _is_in_use(name: str) -> bool:
    if name in SETTINGS:
        return SETTINGS[name].kind is not Kind.HONOURED
    return name in _NATIVE or name.startswith(_NAMESPACES)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list | set) else value


def describe() -> list[tuple[str, str, str]]:
    """Return a row for each setting, for documentation: its name, what becomes of it, and a sentence that says more."""
    return [
        (name, Kind.NATIVE if has_effect else Kind.IGNORED, setting.sentence if has_effect else setting.otherwise)
        if setting.kind is Kind.NATIVE
        else (name, setting.kind, setting.sentence)
        for name, setting in sorted(SETTINGS.items())
        for has_effect in [_has_effect(setting)]
    ]


def _has_effect(setting: Setting) -> bool:
    return setting.native is None or setting.native in _NATIVE


def _value(conf: Any, own: Any, name: str) -> Any:
    """Return the value that a setting was given, or that its default was changed to in place; otherwise ``NOTHING``."""
    if name in own:
        return own[name]
    value, default = conf.get(name), DEFAULTS.get(name)
    return NOTHING if value == default else value


def _native(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the native settings that get the value of one setting of Celery's."""
    for name, value in values.items():
        setting = SETTINGS[name]
        if setting.native not in _NATIVE:
            continue
        if value is None and name != "result_expires":  # None means that results never expire, and otherwise nothing
            continue
        made = value if setting.convert is None else setting.convert(value)
        if made is not NOTHING:
            yield str(setting.native), made


def _check_refused(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setting = SETTINGS[name]
        if setting.refused is not None and value is not None and setting.refused(value):
            raise ImproperlyConfigured(f"{name} is not supported with this value. {setting.sentence}")


def _modules(conf: Any) -> tuple[str, ...]:
    named = (*(maybe_list(conf.get("imports")) or ()), *(maybe_list(conf.get("include")) or ()))
    return tuple(dict.fromkeys(named))


def _zone_name(zone: Any) -> str:
    """Return the name of a time zone that is given by its name or as an object.

    Raises:
        ImproperlyConfigured: the object has no name.
    """
    if not isinstance(zone, tzinfo):
        return str(zone)
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name is None and zone.utcoffset(None) == timedelta(0):
        name = "UTC"
    if name is None:
        raise ImproperlyConfigured(f"timezone={zone!r} has no name: write the IANA name, such as 'Europe/Berlin'")
    return str(name)


def _is_value(value: Any) -> bool:
    return isinstance(value, _VALUES) or hasattr(value, "get_secret_value")


# -- warnings


def _warn(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setting = SETTINGS[name]
        if name in _warned or value in (DEFAULTS.get(name), *setting.quiet):
            continue
        if setting.kind is Kind.IGNORED or (setting.kind is Kind.NATIVE and not _has_effect(setting)):
            _warned.add(name)
            logger.warning("The setting %s has no effect: %s", name, setting.otherwise or setting.sentence)
        elif value in setting.changed:
            _warned.add(name)
            logger.warning("%s=%r is changed: %s", name, value, setting.sentence)


def _warn_of_unknown(own: Any) -> None:
    for key in own:
        name = _new_name(key, own.prefix) if isinstance(key, str) else ""
        if not name.startswith(_NAMESPACES) or name in _warned or name in SETTINGS or name in _NATIVE:
            continue
        import difflib  # few configurations have such a name

        alike = difflib.get_close_matches(name, [*SETTINGS, *_NATIVE], 1, _ALIKE)
        if alike:
            _warned.add(name)
            logger.warning("The setting %s is unknown: did you mean %s?", key, alike[0])


def _new_name(key: str, prefix: str | None) -> str:
    """Return the new name of a setting that the configuration may hold with a prefix or under its old name."""
    if key in _TO_NEW_KEY:
        return _TO_NEW_KEY[key]
    return key[len(prefix) :].lower() if prefix and key.startswith(prefix) else key
