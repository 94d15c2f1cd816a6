"""Reads an application's configuration, whose names of settings are all in the new format or all in the old one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Final, NamedTuple

from taskq_cloud.celery.app._settings import Settings
from taskq_cloud.celery.app.defaults import (
    _OLD_DEFAULTS,
    _OLD_SETTING_KEYS,
    _TO_NEW_KEY,
    _TO_OLD_KEY,
    DEFAULTS,
    SETTING_KEYS,
)
from taskq_cloud.errors import ImproperlyConfigured

E_MIX_OLD_INTO_NEW: Final = """

Cannot mix new and old setting keys, please rename the
following settings to the new format:

{renames}

"""

E_MIX_NEW_INTO_OLD: Final = """

Cannot mix new setting names with old setting names, please
rename the following settings to use the old format:

{renames}

Or change all of the settings to use the new format :)

"""

FMT_REPLACE_SETTING: Final = "{replace:<36} -> {with_}"


def _new_key_to_old(key: str, convert: Callable[[str, str], str] = _TO_OLD_KEY.get) -> str:
    return convert(key, key)


def _old_key_to_new(key: str, convert: Callable[[str, str], str] = _TO_NEW_KEY.get) -> str:
    return convert(key, key)


class _settings_info_t(NamedTuple):
    """One format of the names: the defaults under its names, and how names of the other format are converted."""

    defaults: dict[str, Any]
    convert: dict[str, str]
    key_t: Callable[[str], str]
    mix_error: str


_settings_info: Final = _settings_info_t(DEFAULTS, _TO_NEW_KEY, _old_key_to_new, E_MIX_OLD_INTO_NEW)
_old_settings_info: Final = _settings_info_t(_OLD_DEFAULTS, _TO_OLD_KEY, _new_key_to_old, E_MIX_NEW_INTO_OLD)


def detect_settings(
    conf: Any,
    preconf: Mapping[str, Any] | None = None,
    ignore_keys: Iterable[str] | None = None,
    prefix: str | None = None,
    all_keys: Iterable[str] | None = None,
    old_keys: Iterable[str] | None = None,
) -> Settings:
    """Make settings of a configuration whose names are all new or all old.

    Args:
        conf: the configuration, as a mapping; None: there is none.
        preconf: the values that the application set before, which have priority.
        ignore_keys: names that don't count, as a program sets them.
        prefix: the prefix of the configuration's names, which are new ones then.
        all_keys: the new names; None: those of all settings.
        old_keys: the old names; None: those of all settings.

    Raises:
        ImproperlyConfigured: the names are mixed; the error lists the names to change.
    """
    changes = preconf or {}
    source = changes if conf is None else conf
    have = set(source.keys()) - set(ignore_keys or ())
    new, old = have.intersection(all_keys or SETTING_KEYS), have.intersection(old_keys or _OLD_SETTING_KEYS)
    info, others = (_old_settings_info, new) if len(old) > len(new) and not prefix else (_settings_info, old)
    # A setting may have both names: then either reader finds its own.
    wrong = () if prefix else sorted(key for key in others if info.convert[key] not in have)
    if wrong:
        renames = (FMT_REPLACE_SETTING.format(replace=key, with_=info.convert[key]) for key in wrong)
        raise ImproperlyConfigured(info.mix_error.format(renames="\n".join(renames)))
    return Settings(
        {info.convert.get(key, key): value for key, value in changes.items()},
        [{} if conf is None else conf, deepcopy(info.defaults)],
        (_old_key_to_new, _new_key_to_old),
        deprecated_settings=old,
        prefix=prefix,
    )


def load_config(
    app: Any,
    config_source: Any,
    changes: Mapping[str, Any],
    defaults: deque[Callable[[], Any]],
    namespace: str | None,
    silent: bool,
    *,
    set_by_constructor: Iterable[str] = (),
    conf: Settings | None = None,
) -> Settings:
    """Read the configuration of an application: what ``Celery._load_config`` does between its signals.

    Args:
        app: the application; its ``loader`` reads the source, and its ``prepare_config`` may change what was read.
        config_source: the argument of ``config_from_object``; None or "": the loader's own configuration is read.
        changes: the values that the application set before.
        defaults: functions that make further defaults, as ``add_defaults`` collects them; they are called and removed.
        namespace: the prefix of the names.
        silent: whether a source that can't be imported is ignored.
        set_by_constructor: the names in ``changes`` that the constructor's arguments set, in the new format.
        conf: settings that take over the values, as others may hold them; None: new settings are made.

    Raises:
        ImproperlyConfigured: the names of settings are mixed.
    """
    if config_source:
        app.loader.config_from_object(config_source, silent=silent)
    settings = detect_settings(
        app.prepare_config(app.loader.conf), changes, ignore_keys=set_by_constructor, prefix=namespace
    )
    if conf is not None:
        conf.swap_with(settings)
        settings = conf
    while defaults:
        made = defaults.popleft()()
        settings.add_defaults(made() if callable(made) and not hasattr(made, "keys") else made)
    return settings
