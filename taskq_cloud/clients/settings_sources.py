"""The sources of an application's settings, as pydantic reads them, and the types of durations among the settings."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, DotEnvSettingsSource, InitSettingsSource, PydanticBaseSettingsSource

from taskq_cloud.clients.env_files import env_file
from taskq_cloud.core.model.environments import COMMAND_LINE, environment_first


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


Duration: TypeAlias = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
"""A number of seconds above 0, or a ``timedelta``."""
DurationOrZero: TypeAlias = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
"""A number of seconds from 0, or a ``timedelta``."""


def _expiry(value: Any) -> Any:
    if isinstance(value, timedelta) and value < timedelta(0):
        raise ValueError("results can't expire before they are stored")
    return _seconds(value)


Expiry: TypeAlias = Annotated[timedelta | DurationOrZero, AfterValidator(_expiry)]
"""A number of seconds from 0, a ``timedelta``, or text in the form of ISO 8601."""


class SourcedSettings(BaseSettings):
    """Settings that are looked up in the order which ``taskq_cloud.settings`` describes."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values; an earlier one has priority, and mappings of all of them are merged."""
        if not environment_first(os.environ):
            return init_settings, env_settings, dotenv_settings
        file = DotEnvSettingsSource(settings_cls, env_file=env_file())
        return InitSettingsSource(settings_cls, command_line()), env_settings, file, init_settings


def command_line() -> dict[str, Any]:
    """Return the settings that the command line gives."""
    found: dict[str, Any] = json.loads(os.environ.get(COMMAND_LINE, "{}"))
    return found
