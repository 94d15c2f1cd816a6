"""How one code serves several deployments: where the variables of a deployment come from, and what they override.

A keyword argument of ``TaskQ`` usually overrides an environment variable. A deployment has its environment override the
keyword arguments if it names the file of its variables in ``TASKQ_ENV_FILE``, or sets ``TASKQ_ENVIRONMENT_FIRST``.
docs/environments.md shows both.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from taskq_cloud.errors import ImproperlyConfigured

PREFIX: Final = "TASKQ_"
"""The beginning of the names of settings' environment variables."""

COMMAND_LINE: Final = "TASKQ_COMMAND_LINE"
"""The environment variable that holds the settings given as command-line options, as a JSON object.

It passes options such as ``--broker`` on to the application that ``taskq`` imports, and to the processes of its pool.
"""

ENV_FILE: Final = "TASKQ_ENV_FILE"
"""The environment variable that names the file of one deployment's variables, in place of ``.env``."""

ENVIRONMENT_FIRST: Final = "TASKQ_ENVIRONMENT_FIRST"
"""The environment variable that has environment variables override keyword arguments."""

SECRETS_VARIABLE: Final = "TASKQ_SECRETS"
"""The environment variable with a function's references to secrets, which Terraform sets: see ``bootstrap.secrets``."""

USUAL_ENV_FILE: Final = ".env"

SECRETS: Final = frozenset({"message_signing_keys", "security_key", "security_key_password"})
"""Settings whose values must not be written down."""


def variable_of(setting: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{setting.upper()}"


def command_line() -> dict[str, Any]:
    """Return the settings that were given as command-line options."""
    found: dict[str, Any] = json.loads(os.environ.get(COMMAND_LINE, "{}"))
    return found


def environment_first() -> bool:
    """Return whether environment variables override keyword arguments."""
    given = os.environ.get(ENVIRONMENT_FIRST, "").lower()
    return bool(os.environ.get(ENV_FILE)) or given in ("1", "true", "yes", "on")


def env_file() -> str:
    """Return the path of the file with the deployment's variables: the one that is named, or ``.env``.

    Raises:
        ImproperlyConfigured: there is no file of the given name.
    """
    path = os.environ.get(ENV_FILE)
    if path and not Path(path).is_file():
        raise ImproperlyConfigured(f"{ENV_FILE} names {path!r}, and there is no such file in {Path.cwd()}")
    return path or USUAL_ENV_FILE


def variables_of_deployment() -> dict[str, str]:
    """Return the variables of settings in the file that the deployment names; none if it names no file.

    Raises:
        ImproperlyConfigured: there is no file of the given name.
    """
    return _in_file(env_file()) if os.environ.get(ENV_FILE) else {}


def variables_of_environment() -> frozenset[str]:
    """Return the names of the variables of settings that are set, in the environment or in the deployment's file."""
    return frozenset({name.upper() for name in os.environ} | _in_file(env_file()).keys())


def _in_file(path: str) -> dict[str, str]:
    from dotenv import dotenv_values  # few processes have such a file

    values = dotenv_values(path).items()
    return {name.upper(): value for name, value in values if name.upper().startswith(PREFIX) and value is not None}
