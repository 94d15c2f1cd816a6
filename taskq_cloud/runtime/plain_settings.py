"""The settings of an application, read without pydantic, which takes longer to import than all that a call needs.

This table knows the settings' names, kinds and defaults; ``taskq_cloud.settings`` has their meanings, and reads them by
pydantic. A test puts good and bad values of every setting through both, and compares what they make of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Final, NoReturn

from taskq_cloud.core.model import settings_values
from taskq_cloud.core.model.environments import (
    COMMAND_LINE,
    ENV_FILE,
    PREFIX,
    USUAL_ENV_FILE,
    environment_first,
    variable_of,
)
from taskq_cloud.core.model.options import FAN_OUT_MEMBERS, Policy
from taskq_cloud.core.model.priorities import LEVELS
from taskq_cloud.core.model.settings_values import CELERY_NAMES, LOCAL_BROKER
from taskq_cloud.core.serializers.compression import LARGEST_BODY_BYTES
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime import setting_kinds as kinds
from taskq_cloud.runtime.setting_kinds import Kind

_COUNT: Final = kinds.whole(1)
_ABOVE_0: Final = kinds.seconds(zero=False)
_FROM_0: Final = kinds.seconds(zero=True)

SETTINGS: Final[Mapping[str, tuple[Kind, Any]]] = {
    "broker": (kinds.text, LOCAL_BROKER),
    "results": (kinds.or_none(kinds.text), None),
    "broker_transport_options": (kinds.mapping, {}),
    "result_backend_transport_options": (kinds.mapping, {}),
    "scheduler": (kinds.or_none(kinds.text), None),
    "visibility_timeout": (_ABOVE_0, 60.0),
    "wait_time_seconds": (_FROM_0, 10.0),
    "service_timeout": (_ABOVE_0, 10.0),
    "aws_lean_client": (kinds.flag, True),
    "payloads": (kinds.or_none(kinds.text), None),
    "payload_compression": (kinds.or_none(kinds.text), "gzip"),
    "payload_format": (kinds.text, "taskq"),
    "payload_sources": (kinds.texts, ()),
    "payload_pointers": (kinds.flag, False),
    "payload_threshold": (kinds.or_none(_COUNT), None),
    "payload_expires_days": (_COUNT, 30),
    "task_default_queue": (kinds.text, "celery"),
    "task_routes": (kinds.routes, {}),
    "task_event_routes": (kinds.mapping_of_texts, {}),
    "task_default_priority": (kinds.or_none(kinds.priority), None),
    "task_queue_max_priority": (kinds.or_none(kinds.priority), None),
    "queue_max_priorities": (kinds.priorities, {}),
    "queue_priority_levels": (kinds.whole(2, 10), LEVELS),
    "task_serializer": (kinds.text, "json"),
    "task_compression": (kinds.or_none(kinds.text), None),
    "accept_content": (kinds.texts, ("json",)),
    "task_acks_late": (kinds.flag, True),
    "task_acks_on_failure_or_timeout": (kinds.flag, True),
    "task_acks_on_failure": (kinds.or_none(kinds.flag), None),
    "task_acks_on_timeout": (kinds.or_none(kinds.flag), None),
    "task_time_limit": (kinds.or_none(_ABOVE_0), None),
    "task_soft_time_limit": (kinds.or_none(_ABOVE_0), None),
    "task_ignore_result": (kinds.flag, False),
    "task_store_errors_even_if_ignored": (kinds.flag, False),
    "task_track_started": (kinds.flag, False),
    "task_track_workflows": (kinds.flag, True),
    "task_always_eager": (kinds.flag, False),
    "task_eager_propagates": (kinds.flag, False),
    "task_store_eager_result": (kinds.flag, False),
    "task_max_receives": (_COUNT, 5),
    "task_max_body_bytes": (_COUNT, LARGEST_BODY_BYTES),
    "task_fan_out_members": (kinds.whole(0), FAN_OUT_MEMBERS),
    "task_default_rate_limit": (kinds.or_none(kinds.rate), None),
    "queue_rate_limits": (kinds.rates, {}),
    "message_signing_keys": (kinds.secrets, ()),
    "message_signature_max_age": (kinds.or_none(_ABOVE_0), None),
    "accept_unsigned": (kinds.unsigned, ()),
    "security_key": (kinds.or_none(kinds.secret), None),
    "security_key_password": (kinds.or_none(kinds.secret), None),
    "security_certificate": (kinds.or_none(kinds.text), None),
    "security_cert_store": (kinds.or_none(kinds.text), None),
    "security_digest": (kinds.text, "sha256"),
    "security_serializer": (kinds.text, "json"),
    "result_expires": (kinds.or_none(kinds.expiry), 86400.0),
    "result_compression": (kinds.or_none(kinds.text), None),
    "result_extended": (kinds.flag, False),
    "beat_schedule": (kinds.mapping, {}),
    "timezone": (kinds.or_none(kinds.zone), None),
    "enable_utc": (kinds.flag, True),
    "deployment": (kinds.mapping, {}),
    "imports": (kinds.texts, ()),
    "worker_pool": (kinds.text, "processes"),
    "worker_concurrency": (kinds.or_none(kinds.or_word("auto", _COUNT)), None),
    "worker_prefetch_multiplier": (_COUNT, 4),
    "lambda_concurrency": (_COUNT, 1),
    "worker_priority_weights": (kinds.weights, ()),
    "worker_max_tasks_per_child": (kinds.or_none(_COUNT), None),
    "worker_max_memory_per_child": (kinds.or_none(_COUNT), None),
    "worker_shutdown_timeout": (_ABOVE_0, 25.0),
    "worker_patience": (_FROM_0, 300.0),
    "worker_disable_rate_limits": (kinds.flag, False),
    "worker_health_port": (kinds.or_none(kinds.whole(None)), None),
    "worker_task_protection": (kinds.flag, True),
}
"""Name -> kind and default."""

_IN_JSON: Final = frozenset(
    {
        kinds.mapping,
        kinds.mapping_of_texts,
        kinds.priorities,
        kinds.routes,
        kinds.rates,
        kinds.texts,
        kinds.unsigned,
        kinds.weights,
    }
)
"""The kinds of values that a variable holds as JSON."""


class PlainSettings(SimpleNamespace):
    """The settings of an application; each is an attribute, as of ``taskq_cloud.settings.Settings``."""

    model_fields: ClassVar = frozenset({*SETTINGS, *CELERY_NAMES})
    """The names of all settings, under the name that they have in ``Settings``."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"the setting {name} can't be changed any more: give it to TaskQ, or set its variable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"the setting {name} can't be removed")

    def results_url(self) -> str:
        """Return the URL of the result store."""
        return settings_values.results_url(self)

    def policy(self, patience_seconds: float) -> Policy:
        """Return the settings that the execution of tasks needs."""
        return settings_values.policy(self, patience_seconds)


def load_settings(given: Mapping[str, Any]) -> PlainSettings:
    """Read the settings as ``taskq_cloud.settings.load_settings`` does.

    Raises:
        ImproperlyConfigured: a keyword is not a setting, values are wrong, or a file of variables can't be read; the
            message names all wrong settings, or the file.
    """
    more = json.loads(os.environ.get(COMMAND_LINE, "{}"))
    values = settings_values.given_values(given, more, [*SETTINGS, *CELERY_NAMES])
    sources = [_variables(os.environ), _variables(_in_file())]
    read: dict[str, Any] = {}
    problems: list[str] = []
    for name, (kind, default) in SETTINGS.items():
        found = _found(name, kind, values, more, sources)
        try:
            # A mapping may be changed after it is read, for one application.
            read[name] = kind(_merged(found)) if found else dict(default) if isinstance(default, dict) else default
        except (TypeError, ValueError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ImproperlyConfigured(f"wrong setting (keyword, TASKQ_... or .env): {'; '.join(problems)}")
    return PlainSettings(**read, **{theirs: read[ours] for theirs, ours in CELERY_NAMES.items()})


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    named = ((name.upper(), value) for name, value in environment.items())
    return {name: value for name, value in named if name.startswith(PREFIX)}


def _in_file() -> Mapping[str, str]:
    """Read the file with the deployment's variables, if there is one.

    Raises:
        ImproperlyConfigured: the named file is missing, or python-dotenv is not installed.
    """
    named = os.environ.get(ENV_FILE)
    if not named and not os.access(USUAL_ENV_FILE, os.F_OK):
        return {}
    from taskq_cloud.clients.env_files import variables_in_file  # few processes have such a file

    try:
        return variables_in_file()
    except ModuleNotFoundError:
        raise ImproperlyConfigured(
            f"the file {named or USUAL_ENV_FILE!r} can't be read without pydantic-settings: install it (taskq package "
            "-r), or remove the file and set the variables themselves and TASKQ_ENVIRONMENT_FIRST=1"
        ) from None


def _found(
    name: str, kind: Kind, values: Mapping[str, Any], more: Mapping[str, Any], sources: Iterable[Mapping[str, str]]
) -> list[Any]:
    """Return all values that a setting is given, the one that wins first.

    Args:
        name: the setting.
        kind: its kind.
        values: the values of the code and of the command line.
        more: the values of the command line.
        sources: the variables of the environment, and of the file of variables.

    Raises:
        ImproperlyConfigured: a variable doesn't hold JSON.
    """
    names = [name, *(theirs for theirs, ours in CELERY_NAMES.items() if ours == name)]
    texts = [source[variable] for each in names for source in sources if (variable := variable_of(each)) in source]
    if kind in _IN_JSON:
        texts = [value for text in texts if (value := _json(name, text)) is not None]
    given = [values[name]] if name in values else []
    return [*given, *texts] if name in more or not environment_first(os.environ) else [*texts, *given]


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"wrong setting (TASKQ_... or .env): {name}: the value isn't JSON; lists and mappings are JSON"
        ) from error


def _merged(found: list[Any]) -> Any:
    """Return the value that wins; mappings are merged with the ones below them."""
    value = found[-1]
    for higher in found[-2::-1]:
        value = _merged_mappings(value, higher) if isinstance(value, dict) and isinstance(higher, dict) else higher
    return value


def _merged_mappings(lower: dict[str, Any], higher: dict[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for name, value in higher.items():
        below = merged.get(name)
        merged[name] = _merged_mappings(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
