"""How one code serves several deployments: the names of a deployment's variables, and what they override.

A keyword argument of ``TaskQ`` usually overrides an environment variable. A deployment has its environment override the
keyword arguments if it names the file of its variables in ``TASKQ_ENV_FILE``, or sets ``TASKQ_ENVIRONMENT_FIRST``.
docs/environments.md shows both; ``clients.env_files`` reads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "TASKQ_"
"""The beginning of the names of settings' environment variables."""

COMMAND_LINE: Final = "TASKQ_COMMAND_LINE"
"""The environment variable that holds the settings given as command-line options, as a JSON object.

It passes options such as ``--broker`` on to the application that ``taskq`` imports, and to the processes of its pool.
"""

ENV_FILE: Final = "TASKQ_ENV_FILE"
"""The environment variable that names the file of one deployment's variables, in place of ``.env``."""

USUAL_ENV_FILE: Final = ".env"
"""The file of variables that is read, if it is there, where the deployment names none."""

ENVIRONMENT_FIRST: Final = "TASKQ_ENVIRONMENT_FIRST"
"""The environment variable that has environment variables override keyword arguments."""

SECRETS_VARIABLE: Final = "TASKQ_SECRETS"
"""The environment variable with a function's references to secrets, which Terraform sets: see ``bootstrap.secrets``."""

SECRETS: Final = frozenset({"message_signing_keys", "security_key", "security_key_password"})
"""Settings whose values must not be written down."""


def variable_of(setting: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{setting.upper()}"


def environment_first(environment: Mapping[str, str]) -> bool:
    """Return whether the variables of an environment override keyword arguments."""
    given = environment.get(ENVIRONMENT_FIRST, "").lower()
    return bool(environment.get(ENV_FILE)) or given in ("1", "true", "yes", "on")
