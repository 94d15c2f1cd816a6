"""The options that all commands share, such as ``-A`` and ``--broker``, and how their values are read.

They can be given before or after the command's name, so their values are kept in click's context.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from taskq_cloud.bootstrap import logs
from taskq_cloud.bootstrap.loading import APP_VARIABLE

C = TypeVar("C", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A number of seconds: a range of floats without NaN and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number, or fail with click's error for a wrong value."""
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


def common_options(command: C) -> C:
    """Add the options that all commands share to a command; ``given`` returns their values."""
    for option in reversed(_COMMON_OPTIONS):
        command = option(command)
    return command


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # Options after the command's name are read later, so they replace options before it.
    if value not in (None, False):
        context.meta[f"{__name__}.{parameter.name}"] = value


def given(context: click.Context, name: str) -> Any:
    """Return the value of a shared option, given before or after the command's name; None if it wasn't given."""
    return context.meta.get(f"{__name__}.{name}")


def _common_option(*declarations: str, **attributes: Any) -> Callable[[C], C]:
    return click.option(*declarations, expose_value=False, callback=_remember, **attributes)


_COMMON_OPTIONS: Final = (
    _common_option(
        "-A",
        "--app",
        metavar="MODULE[:NAME]",
        help=f"The application, for example shop or shop.tasks:app.  [env: {APP_VARIABLE}]",
    ),
    _common_option(
        "-b", "--broker", metavar="URL", help="The message broker; overrides the setting of the application."
    ),
    _common_option(
        "--result-backend",
        "--results",
        "results",
        metavar="URL",
        help="The result store; overrides the setting of the application.",
    ),
    _common_option(
        "--workdir",
        type=click.Path(exists=True, file_okay=False),
        help="Change to this folder first. The application, .env and ./.taskq are looked up there.",
    ),
    _common_option("-q", "--quiet", is_flag=True, help="Print only the command's result: no banner and no hints."),
    _common_option(
        "-l",
        "--loglevel",
        type=click.Choice(logs.LEVELS, case_sensitive=False),
        help="The lowest level of log records on standard error.  [default: info for workers and beat run, otherwise "
        f"warning; env: {logs.LEVEL_VARIABLE}]",
    ),
    _common_option(
        "--log-format",
        type=click.Choice(logs.FORMATS),
        help="The format of log records: text for people, or one JSON object per line.  [default: text; "
        f"env: {logs.FORMAT_VARIABLE}]",
    ),
)


def app_path(context: click.Context) -> str | None:
    """Return the path of the application, from ``-A`` or the environment; None if neither names one."""
    path: str | None = given(context, "app") or os.environ.get(APP_VARIABLE)
    return path


def log_level(context: click.Context, default: str) -> str:
    """Return the log level, from ``-l``, the environment or the command's default.

    Raises:
        UsageError: the environment variable has an unknown level.
    """
    return _from_environment(context, "loglevel", logs.LEVEL_VARIABLE, logs.LEVELS) or default


def log_format(context: click.Context) -> str:
    """Return the log format, ``text`` or ``json``.

    Raises:
        UsageError: the environment variable has an unknown format.
    """
    return _from_environment(context, "log_format", logs.FORMAT_VARIABLE, logs.FORMATS) or "text"


def _from_environment(context: click.Context, name: str, variable: str, known: tuple[str, ...]) -> str | None:
    value: str | None = given(context, name)
    if value is None and (found := os.environ.get(variable)):
        value = found.lower()
        if value not in known:
            raise click.UsageError(f"{variable} is {found!r}, but must be one of {', '.join(known)}")
    return value


def queues_option(text: str) -> Callable[[C], C]:
    """Return the option ``-Q a,b``, whose value is a tuple of queue names; the tuple is empty without the option."""
    return click.option(
        "-Q",
        "--queues",
        callback=_queue_names,
        metavar="A,B",
        help=f"{text}, separated by commas.  [default: all queues of the application]",
    )


def _queue_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    del context, parameter
    return tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))
