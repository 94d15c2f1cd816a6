"""The types of values of the command line of ``celery``."""

from __future__ import annotations

import json
from typing import Any

import click

from taskq_cloud.celery.utils.log import mlevel
from taskq_cloud.celery.utils.text import str_to_list
from taskq_cloud.celery.utils.time import maybe_iso8601

__all__ = ("COMMA_SEPARATED_LIST", "ISO8601", "ISO8601_OR_FLOAT", "JSON_ARRAY", "JSON_OBJECT", "LOG_LEVEL")


class CommaSeparatedList(click.ParamType[Any]):
    """Texts that are separated by commas."""

    name = "comma separated list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the list of texts."""
        return str_to_list(value)


class _Json(click.ParamType[Any]):
    kind: type
    wrong: str

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Read the value, or fail with the reason."""
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as error:
            self.fail(str(error))
        if not isinstance(found, self.kind):
            self.fail(f"{value} was not {self.wrong}")
        return found


class JsonArray(_Json):
    """A JSON array."""

    name = "json array"
    kind = list
    wrong = "an array"


class JsonObject(_Json):
    """A JSON object."""

    name = "json object"
    kind = dict
    wrong = "an object"


class ISO8601DateTime(click.ParamType[Any]):
    """A time in the form of ISO 8601."""

    name = "iso-86091"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Read the time, or fail with the reason."""
        try:
            return maybe_iso8601(value)
        except (TypeError, ValueError) as error:
            self.fail(str(error))


class ISO8601DateTimeOrFloat(ISO8601DateTime):
    """A time in the form of ISO 8601, or a number of seconds."""

    name = "iso-86091 or float"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Read the number or the time, or fail with the reason."""
        try:
            return float(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)


class LogLevel(click.Choice[Any]):
    """The name of a log level in any case; its value is the level's number."""

    def __init__(self) -> None:
        super().__init__(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"))

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number of a level; a number stays."""
        if isinstance(value, int):
            return value
        return mlevel(super().convert(value.upper(), param, ctx))


COMMA_SEPARATED_LIST = CommaSeparatedList()
ISO8601 = ISO8601DateTime()
ISO8601_OR_FLOAT = ISO8601DateTimeOrFloat()
JSON_ARRAY = JsonArray()
JSON_OBJECT = JsonObject()
LOG_LEVEL = LogLevel()
