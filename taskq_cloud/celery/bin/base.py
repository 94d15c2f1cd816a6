"""What the commands of ``celery`` share: their context, their classes of options, and the user's own options."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import update_wrapper
from pprint import pformat
from typing import Any, Final, NoReturn

import click

from taskq_cloud.celery._state import get_current_app
from taskq_cloud.celery.bin.param_types import (
    COMMA_SEPARATED_LIST,
    ISO8601,
    ISO8601_OR_FLOAT,
    JSON_ARRAY,
    JSON_OBJECT,
    LOG_LEVEL,
    CommaSeparatedList,
    ISO8601DateTime,
    ISO8601DateTimeOrFloat,
    JsonArray,
    JsonObject,
    LogLevel,
)
from taskq_cloud.celery.command_exception import CeleryCommandException
from taskq_cloud.celery.utils import cached_property, text

__all__ = (
    "COMMA_SEPARATED_LIST",
    "ISO8601",
    "ISO8601_OR_FLOAT",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "CLIContext",
    "CeleryCommand",
    "CeleryDaemonCommand",
    "CeleryOption",
    "CommaSeparatedList",
    "DaemonOption",
    "ISO8601DateTime",
    "ISO8601DateTimeOrFloat",
    "JsonArray",
    "JsonObject",
    "LogLevel",
    "consume_preload_options",
    "handle_preload_options",
    "handle_remote_command_error",
)

EX_OK: Final = 0
EX_FAILURE: Final = 1
EX_UNAVAILABLE: Final = 69
"""Exit codes; the last one is that of sysexits.h for a service that isn't available."""


class CLIContext:
    """What a command line is about: ``ctx.obj`` of each command.

    Args:
        app: the application; None: the current one.
        no_color: whether the output has no colours.
        workdir: the folder that the program has changed to.
        quiet: whether only results are printed.
    """

    def __init__(self, app: Any, no_color: bool, workdir: Any, quiet: bool = False) -> None:
        self.app = app or get_current_app()
        self.no_color = no_color
        self.quiet = quiet
        self.workdir = workdir

    @cached_property
    def OK(self) -> Any:
        """The word for success."""
        return self.style("OK", fg="green", bold=True)

    @cached_property
    def ERROR(self) -> Any:
        """The word for failure."""
        return self.style("ERROR", fg="red", bold=True)

    def style(self, message: Any = None, **kwargs: Any) -> Any:
        """Return a text in a style, unless the output has no colours."""
        return message if self.no_color else click.style(message, **kwargs)

    def echo(self, message: Any = None, **kwargs: Any) -> None:
        """Print a text."""
        click.echo(message, **self._without_colour(kwargs))

    def secho(self, message: Any = None, **kwargs: Any) -> None:
        """Print a text in a style."""
        if self.no_color:
            self.echo(message, **kwargs)
        else:
            click.secho(message, **kwargs)

    def error(self, message: Any = None, **kwargs: Any) -> None:
        """Print a text in a style on standard error."""
        self.secho(message, **kwargs, err=True)

    def _without_colour(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "color": False} if self.no_color else kwargs

    def pretty(self, n: Any) -> tuple[Any, str]:
        """Return a word for success or failure, and a value as text for people."""
        if isinstance(n, list):
            return self.OK, self.pretty_list(n)
        if isinstance(n, dict):
            if "ok" in n or "error" in n:
                return self.pretty_dict_ok_error(n)
            return self.OK, json.dumps(n, sort_keys=True, indent=4)
        return self.OK, n if isinstance(n, str) else pformat(n)

    def pretty_list(self, n: list[Any]) -> str:
        """Return the items of a list as lines."""
        star = self.style("*", fg="white")
        return "\n".join(f"{star} {item}" for item in n) or "- empty -"

    def pretty_dict_ok_error(self, n: dict[str, Any]) -> tuple[Any, str]:
        """Return a worker's reply, which is a success or an error."""
        if "ok" in n:
            return self.OK, text.indent(self.pretty(n["ok"])[1], 4)
        return self.ERROR, text.indent(self.pretty(n["error"])[1], 4)

    def say_chat(self, direction: str, title: str, body: str = "", show_body: bool = False) -> None:
        """Print a message to a worker or from it."""
        if self.quiet and direction == "<-":
            return
        arrow = "" if self.quiet else f"{self.style(direction, fg='white', bold=True)} "
        self.echo(f"{arrow} {title}")
        if body and show_body:
            self.echo(body)


def handle_remote_command_error(command: str, exc: Exception) -> NoReturn:
    """Turn the error of a remote command into one line and an exit code.

    Raises:
        ClickException: always.
    """
    if isinstance(exc, click.ClickException):
        raise exc
    if isinstance(exc, NotImplementedError):
        raise CeleryCommandException(message=str(exc), exit_code=EX_FAILURE) from exc
    raise CeleryCommandException(
        message=f"Unable to run the `{command}` command. Reason: {exc}", exit_code=EX_UNAVAILABLE
    ) from exc


# -- options that the application adds to all commands


def handle_preload_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Send the signal ``user_preload_options`` before a command that takes the context as its first argument."""
    if _handles_preload_options(f):
        return f

    def caller(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        _deliver_preload_options(ctx.obj.app, kwargs, f)
        return f(ctx, *args, **kwargs)

    return _marked(caller, f)


def consume_preload_options(fun: Any) -> Any:
    """Send the signal ``user_preload_options`` before any command, and keep options from it that it doesn't take."""
    if fun is None or _handles_preload_options(fun):
        return fun

    def caller(*args: Any, **kwargs: Any) -> Any:
        _deliver_preload_options(click.get_current_context().obj.app, kwargs, fun)
        return fun(*args, **kwargs)

    return _marked(caller, fun)


def _marked(wrapper: Callable[..., Any], wrapped: Callable[..., Any]) -> Callable[..., Any]:
    update_wrapper(wrapper, wrapped)
    wrapper._handles_preload_options = True  # type: ignore[attr-defined]  # what the function below looks for
    return wrapper


def _handles_preload_options(fun: Any) -> bool:
    seen = set()
    while fun is not None and id(fun) not in seen:
        seen.add(id(fun))
        if getattr(fun, "_handles_preload_options", False):
            return True
        fun = getattr(fun, "__wrapped__", None)
    return False


def _deliver_preload_options(app: Any, kwargs: dict[str, Any], fun: Callable[..., Any]) -> None:
    names = [option.name for option in app.user_options.get("preload", ())]
    options = {name: kwargs[name] for name in names if name in kwargs}
    for name in options:
        if not _takes_keyword(fun, name):
            del kwargs[name]
    if options:
        from taskq_cloud.celery.signals import user_preload_options  # few applications have such options

        user_preload_options.send(sender=fun, app=app, options=options)


def _takes_keyword(fun: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):  # functions of C need not have a signature
        return False
    by_keyword = [each for each in parameters if each.kind is not inspect.Parameter.POSITIONAL_ONLY]
    return any(each.kind is inspect.Parameter.VAR_KEYWORD or each.name == name for each in by_keyword)


# -- classes of options and commands


class CeleryOption(click.Option):
    """An option with a heading in the help text.

    Args:
        args: see click.
        kwargs: see click, and ``help_group``: the heading, and ``default_value_from_context``: the name of a value of
            the context that is the default.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group = kwargs.pop("help_group", None)
        self.default_value_from_context = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)

    def get_default(self, ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        """Return the default."""
        if self.default_value_from_context:
            self.default = ctx.obj[self.default_value_from_context]
        return super().get_default(ctx, *args, **kwargs)


class CeleryCommand(click.Command):
    """A command whose help text has its options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options into the help text."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(str(getattr(param, "help_group", None) or "Options"), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


class DaemonOption(CeleryOption):
    """An option of a long-running command, whose default is a setting such as ``worker_pidfile``.

    Args:
        args: the names of the option.
        kwargs: see ``CeleryOption``.
    """

    def __init__(self, *args: str, **kwargs: Any) -> None:
        group = kwargs.pop("help_group", "Daemonization Options")
        super().__init__(args, help_group=group, callback=kwargs.pop("callback", self.daemon_setting), **kwargs)

    def daemon_setting(self, ctx: click.Context, opt: Any, value: Any) -> Any:
        """Return the value, or the setting of the command's and the option's name."""
        return value or getattr(ctx.obj.app.conf, f"{ctx.command.name}_{self.name}", None)


class CeleryDaemonCommand(CeleryCommand):
    """A long-running command, with the options of a process in the background."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            DaemonOption("--logfile", "-f", help="The file of the log; by default, standard error."),
            DaemonOption("--pidfile", help="The file for the process id; by default, there is none."),
            DaemonOption("--uid", help="The user that the process runs as."),
            DaemonOption("--gid", help="The group that the process runs as."),
            DaemonOption("--umask", help="The file mode mask of the process, in octal."),
            DaemonOption("--executable", help="The Python that a detached process runs with."),
        ]
