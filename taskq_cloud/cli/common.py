"""What every command shares: the options before and after its name, the application they lead to, and its output."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, TypeVar

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.bootstrap import logs
from taskq_cloud.bootstrap.loading import APP_VARIABLE, find_app
from taskq_cloud.errors import TaskQError
from taskq_cloud.settings import COMMAND_LINE

C = TypeVar("C", bound=Callable[..., Any])
logger = logging.getLogger(__name__)


def common_options(command: C) -> C:
    """Give a command the options that may stand before or after its name; ``given`` has their values."""
    for option in reversed(_COMMON_OPTIONS):
        command = option(command)
    return command


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # An option after the command's name is read later, and wins.
    if value not in (None, False):
        context.meta[f"{__name__}.{parameter.name}"] = value


def given(context: click.Context, name: str) -> Any:
    """The value of a common option, before or after the command's name; None where it was not given."""
    return context.meta.get(f"{__name__}.{name}")


def _common_option(*declarations: str, **attributes: Any) -> Callable[[C], C]:
    return click.option(*declarations, expose_value=False, callback=_remember, **attributes)


_COMMON_OPTIONS: Final = (
    _common_option(
        "-A", "--app", metavar="MODULE[:NAME]", help=f"The application: shop, or shop.tasks:app. [env: {APP_VARIABLE}]"
    ),
    _common_option("-b", "--broker", metavar="URL", help="The message broker, instead of the application's."),
    _common_option(
        "--result-backend",
        "--results",
        "results",
        metavar="URL",
        help="The result store, instead of the application's.",
    ),
    _common_option(
        "--workdir",
        type=click.Path(exists=True, file_okay=False),
        help="The folder to work in: applications, .env and ./.taskq are looked for there.",
    ),
    _common_option("-q", "--quiet", is_flag=True, help="Say nothing but the answer."),
    _common_option(
        "-l",
        "--loglevel",
        type=click.Choice(logs.LEVELS, case_sensitive=False),
        help=f"What is logged to standard error: by a worker from info on, otherwise from warning on. "
        f"[env: {logs.LEVEL_VARIABLE}]",
    ),
    _common_option(
        "--log-format",
        type=click.Choice(logs.FORMATS),
        help=f"Lines for people, or a JSON object a line. [env: {logs.FORMAT_VARIABLE}]",
    ),
)


def open_app(context: click.Context, *, loglevel: str = "warning", settings: Mapping[str, Any] | None = None) -> TaskQ:
    """Go to the working folder, start logging, and import the application.

    Without one, a broker or a result store named by an option is enough: the settings are then the environment's.

    Args:
        context: the command's.
        loglevel: where the user names none.
        settings: those that the command's own options set; None among them means not given.

    Raises:
        UsageError: no application is named.
        ClickException: the application's own code fails.
        TaskQError: there is no such application.
    """
    # Closed with the outermost command, whose last act is to say what went wrong.
    root = context.find_root()
    if workdir := given(context, "workdir"):
        os.chdir(workdir)
    of_options = {"broker": given(context, "broker"), "results": given(context, "results"), **(settings or {})}
    of_options = {name: value for name, value in of_options.items() if value is not None}
    level = _from_environment(context, "loglevel", logs.LEVEL_VARIABLE, logs.LEVELS) or loglevel
    form = log_format(context)
    # Through the environment: a process pool's children import the application again, and log too.
    variables = {logs.LEVEL_VARIABLE: level, logs.FORMAT_VARIABLE: form, COMMAND_LINE: json.dumps(of_options)}
    root.with_resource(_environment(variables))
    root.with_resource(logs.logging_to_stderr(level, form))
    path = app_path(context)
    if path is not None:
        app = _find(path)
    elif given(context, "broker") or given(context, "results"):
        app = TaskQ()
    else:
        raise click.UsageError(f"no application: name it with -A shop (or shop.tasks:app), or with {APP_VARIABLE}")
    root.call_on_close(app.close)
    return app


def app_path(context: click.Context) -> str | None:
    """The path of the application; None where none is named."""
    path: str | None = given(context, "app") or os.environ.get(APP_VARIABLE)
    return path


def log_format(context: click.Context) -> str:
    """The format of the log."""
    return _from_environment(context, "log_format", logs.FORMAT_VARIABLE, logs.FORMATS) or "text"


def _from_environment(context: click.Context, name: str, variable: str, known: tuple[str, ...]) -> str | None:
    value: str | None = given(context, name)
    if value is None and (found := os.environ.get(variable)):
        value = found.lower()
        if value not in known:
            raise click.UsageError(f"{variable} is {found!r}; it is one of {', '.join(known)}")
    return value


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _find(path: str) -> TaskQ:
    try:
        return find_app(path)
    except TaskQError:
        raise
    except Exception as error:
        # Whatever the application's own modules raise while they are imported.
        logger.debug("importing %s failed", path, exc_info=error, extra={"action": "app.failed"})
        last = extract_tb(error.__traceback__)[-1]
        raise click.ClickException(
            f"{path} can't be imported: {type(error).__name__}: {error} "
            f"({Path(last.filename).name}, line {last.lineno}); -l debug shows the traceback"
        ) from error


def say(context: click.Context, text: str) -> None:
    """Tell the user something beside the answer: on standard error, unless ``--quiet``."""
    if not given(context, "quiet"):
        click.echo(text, err=True)


def queue_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read ``-Q a,b``: the callback of such an option."""
    del context, parameter
    return tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))


# A secret key may itself hold a slash, so what follows "name:" is taken up to the last "@".
