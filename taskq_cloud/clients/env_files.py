"""Reads the file of a deployment's variables, by python-dotenv: see ``core.model.environments``."""

from __future__ import annotations

import os
from pathlib import Path

from taskq_cloud.core.model.environments import ENV_FILE, PREFIX, USUAL_ENV_FILE
from taskq_cloud.errors import ImproperlyConfigured


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


def variables_in_file() -> dict[str, str]:
    """Return the variables of settings in the file that the deployment names, or else in ``.env``.

    Raises:
        ImproperlyConfigured: there is no file of the given name.
        ModuleNotFoundError: python-dotenv is not installed.
    """
    return _in_file(env_file())


def variables_of_environment() -> frozenset[str]:
    """Return the names of the variables of settings that are set, in the environment or in the deployment's file."""
    return frozenset({name.upper() for name in os.environ} | _in_file(env_file()).keys())


def _in_file(path: str) -> dict[str, str]:
    from dotenv import dotenv_values  # few processes have such a file

    values = dotenv_values(path).items()
    return {name.upper(): value for name, value in values if name.upper().startswith(PREFIX) and value is not None}
