"""Settings without pydantic, for producers whose package leaves it out (``taskq package --producer``).

A function or a web application that only calls tasks needs none of what makes pydantic large: this table knows the
settings' names, kinds and defaults. ``taskq_cloud.settings`` has their meanings, and a test compares the two. Files of
variables such as ``.env`` are not read here, and a wrong value is described in fewer words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from math import isfinite
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model import settings_values
from taskq_cloud.core.model.environments import COMMAND_LINE, ENV_FILE, environment_first, variable_of
from taskq_cloud.core.model.options import FAN_OUT_MEMBERS, Policy
from taskq_cloud.core.model.settings_values import CELERY_NAMES, LOCAL_BROKER
from taskq_cloud.core.serializers.compression import LARGEST_BODY_BYTES
from taskq_cloud.errors import ImproperlyConfigured

Kind: TypeAlias = Callable[[Any], Any]
"""Turns a keyword's value, or a text of the environment, into the setting's; raises ``ValueError`` or ``TypeError``."""


class Secret:
    """A text that is not shown."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it must be a text")
    return value


def _flag(value: Any) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    found = value if isinstance(value, bool) else known.get(str(value).lower())
    if found is None:
        raise ValueError("it must be true or false")
    return found


def _whole(least: int) -> Kind:
    def kind(value: Any) -> int:
        number = int(value)
        if isinstance(value, bool) or number != float(value) or number < least:
            raise ValueError(f"it must be a whole number from {least}")
        return number

    return kind


def _seconds(*, zero: bool) -> Kind:
    def kind(value: Any) -> float:
        number = value.total_seconds() if isinstance(value, timedelta) else float(value)
        if not isfinite(number) or number < 0 or (number == 0 and not zero):
            raise ValueError(f"it must be a number of seconds {'from' if zero else 'above'} 0")
        return number

    return kind


def _mapping(value: Any) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, Mapping):
        raise TypeError("it must be a mapping, or an object in JSON")
    return dict(found)


def _texts(value: Any) -> tuple[str, ...]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple):
        raise TypeError("it must be a list, or an array in JSON")
    return tuple(map(_text, found))


def _secret(value: Any) -> Any:
    return value if hasattr(value, "get_secret_value") else Secret(_text(value))


def _secrets(value: Any) -> tuple[Any, ...]:
    found = [key for key in value.split(",") if key.strip()] if isinstance(value, str) else value
    return tuple(map(_secret, found))


def _rate(value: Any) -> str | float:
    return value if isinstance(value, str) else float(value)


def _or_none(kind: Kind) -> Kind:
    return lambda value: None if value is None else kind(value)


def _zone(value: Any) -> str | None:
    from taskq_cloud.core.schedules.base import zone_name  # only with periodic tasks

    return zone_name(_text(value))


_COUNT: Final = _whole(1)
_ABOVE_0: Final = _seconds(zero=False)
_FROM_0: Final = _seconds(zero=True)

SETTINGS: Final[Mapping[str, tuple[Kind, Any]]] = {
    "broker": (_text, LOCAL_BROKER),
    "results": (_or_none(_text), None),
    "broker_transport_options": (_mapping, {}),
    "scheduler": (_or_none(_text), None),
    "visibility_timeout": (_ABOVE_0, 60.0),
    "wait_time_seconds": (_FROM_0, 10.0),
    "service_timeout": (_ABOVE_0, 10.0),
    "payloads": (_or_none(_text), None),
    "payload_compression": (_or_none(_text), "gzip"),
    "payload_format": (_text, "taskq"),
    "payload_sources": (_texts, ()),
    "payload_pointers": (_flag, False),
    "payload_threshold": (_or_none(_COUNT), None),
    "payload_expires_days": (_COUNT, 30),
    "task_default_queue": (_text, "celery"),
    "task_routes": (_mapping, {}),
    "task_event_routes": (_mapping, {}),
    "task_serializer": (_text, "json"),
    "task_compression": (_or_none(_text), None),
    "accept_content": (_texts, ("json",)),
    "task_time_limit": (_or_none(_ABOVE_0), None),
    "task_soft_time_limit": (_or_none(_ABOVE_0), None),
    "task_ignore_result": (_flag, False),
    "task_store_errors_even_if_ignored": (_flag, False),
    "task_track_started": (_flag, False),
    "task_track_workflows": (_flag, True),
    "task_always_eager": (_flag, False),
    "task_eager_propagates": (_flag, False),
    "task_max_receives": (_COUNT, 5),
    "task_max_body_bytes": (_COUNT, LARGEST_BODY_BYTES),
    "task_fan_out_members": (_whole(0), FAN_OUT_MEMBERS),
    "task_default_rate_limit": (_or_none(_rate), None),
    "queue_rate_limits": (_mapping, {}),
    "message_signing_keys": (_secrets, ()),
    "message_signature_max_age": (_or_none(_ABOVE_0), None),
    "accept_unsigned": (_texts, ()),
    "security_key": (_or_none(_secret), None),
    "security_key_password": (_or_none(_secret), None),
    "security_certificate": (_or_none(_text), None),
    "security_cert_store": (_or_none(_text), None),
    "security_digest": (_text, "sha256"),
    "security_serializer": (_text, "json"),
    "result_expires": (_or_none(_FROM_0), 86400.0),
    "result_extended": (_flag, False),
    "beat_schedule": (_mapping, {}),
    "timezone": (_or_none(_zone), None),
    "enable_utc": (_flag, True),
    "deployment": (_mapping, {}),
    "imports": (_texts, ()),
    "worker_pool": (_text, "processes"),
    "worker_concurrency": (_or_none(_COUNT), None),
    "worker_prefetch_multiplier": (_COUNT, 4),
    "lambda_concurrency": (_COUNT, 1),
    "worker_max_tasks_per_child": (_or_none(_COUNT), None),
    "worker_max_memory_per_child": (_or_none(_COUNT), None),
    "worker_shutdown_timeout": (_ABOVE_0, 25.0),
    "worker_patience": (_FROM_0, 300.0),
    "worker_disable_rate_limits": (_flag, False),
    "worker_health_port": (_or_none(_whole(0)), None),
    "worker_task_protection": (_flag, True),
}
"""Name -> kind and default."""


class PlainSettings(SimpleNamespace):
    """The settings of a producer; each is an attribute, as of ``taskq_cloud.settings.Settings``."""

    def results_url(self) -> str:
        """Return the URL of the result store."""
        return settings_values.results_url(self)

    def policy(self, patience_seconds: float) -> Policy:
        """Return the settings that the execution of tasks needs."""
        return settings_values.policy(self, patience_seconds)


def load_settings(given: dict[str, Any]) -> PlainSettings:
    """Read the settings as ``taskq_cloud.settings.load_settings`` does, except for files of variables.

    Raises:
        ImproperlyConfigured: a keyword is not a setting, a value is wrong, or the deployment's variables are in a file;
            the message names the setting or the file.
    """
    file = os.environ.get(ENV_FILE)
    if file:
        raise ImproperlyConfigured(
            f"{ENV_FILE} names {file!r}, which can't be read without pydantic-settings: install it (taskq package -r), "
            "or set the variables themselves and TASKQ_ENVIRONMENT_FIRST=1"
        )
    more = json.loads(os.environ.get(COMMAND_LINE, "{}"))
    values = settings_values.given_values(given, more, [*SETTINGS, *CELERY_NAMES])
    environment = {name.upper(): text for name, text in os.environ.items()}
    read: dict[str, Any] = {}
    for name, (kind, default) in SETTINGS.items():
        found = _found(name, values, more, environment)
        try:
            read[name] = _read(kind, found) if found else default
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"wrong setting (keyword or TASKQ_...): {name}: {error}") from error
    read |= {theirs: read[ours] for theirs, ours in CELERY_NAMES.items()}
    return PlainSettings(**read)


def _found(name: str, values: Mapping[str, Any], more: Mapping[str, Any], environment: Mapping[str, str]) -> list[Any]:
    """Return all values that a setting is given, the one that wins first.

    Args:
        name: the setting.
        values: the values of the code and of the command line.
        more: the values of the command line.
        environment: the environment variables, by names in capitals.
    """
    names = [name, *(theirs for theirs, ours in CELERY_NAMES.items() if ours == name)]
    texts = [environment[variable_of(each)] for each in names if variable_of(each) in environment]
    given = [values[name]] if name in values else []
    if name in more or not environment_first(os.environ):
        return [*given, *texts]
    return [*texts, *given]


def _read(kind: Kind, found: Sequence[Any]) -> Any:
    """Return the value that wins; mappings are merged."""
    value = kind(found[0])
    if kind is _mapping:
        for lower in found[1:]:
            value = _merged(kind(lower), value)
    return value


def _merged(lower: Mapping[str, Any], higher: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for name, value in higher.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
