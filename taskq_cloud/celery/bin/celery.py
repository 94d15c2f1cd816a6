"""The program ``celery``: its global options, its commands, and the commands that packages add to it.

``taskq celery``, ``python -m taskq_cloud.celery`` and ``app.start()`` run it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import click
from click.exceptions import Exit

from taskq_cloud.celery.app.utils import find_app
from taskq_cloud.celery.bin.amqp import amqp
from taskq_cloud.celery.bin.base import CeleryCommand, CeleryOption, CLIContext, consume_preload_options
from taskq_cloud.celery.bin.beat import beat
from taskq_cloud.celery.bin.call import call
from taskq_cloud.celery.bin.control import control, inspect, status
from taskq_cloud.celery.bin.events import events
from taskq_cloud.celery.bin.graph import graph
from taskq_cloud.celery.bin.list import list_
from taskq_cloud.celery.bin.logtool import logtool
from taskq_cloud.celery.bin.migrate import migrate
from taskq_cloud.celery.bin.multi import multi
from taskq_cloud.celery.bin.purge import purge
from taskq_cloud.celery.bin.result import result
from taskq_cloud.celery.bin.shell import shell
from taskq_cloud.celery.bin.upgrade import upgrade
from taskq_cloud.celery.bin.worker import worker
from taskq_cloud.errors import TaskQError

__all__ = ("celery", "main")

UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND: Final = click.style(
    "\nUnable to load celery application.\nThe module {0} was not found.", fg="red"
)
UNABLE_TO_LOAD_APP_ERROR_OCCURRED: Final = click.style(
    "\nUnable to load celery application.\nWhile trying to load the module {0} the following error occurred:\n{1}",
    fg="red",
)
UNABLE_TO_LOAD_APP_APP_MISSING: Final = click.style("\nUnable to load celery application.\n{0}")

_ENVIRONMENT: Final = {
    "loader": "CELERY_LOADER",
    "broker": "CELERY_BROKER_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
    "config": "CELERY_CONFIG_MODULE",
}
"""Global option -> the environment variable by which an application that is imported later gets its value."""


class _Program(click.Group):
    """A group that has the commands of packages as well."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *(each.name for each in _plugins())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; that of a package is imported now."""
        known = super().get_command(ctx, cmd_name)
        if known is None:
            plugin = next((each for each in _plugins() if each.name == cmd_name), None)
            if plugin is not None:
                known = _load(plugin)
                self.add_command(known, cmd_name)
                _add_user_options(ctx, [known])
        return known

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            ClickException: the command raised a ``TaskQError``; click prints it as ``Error: ...`` and exits with 1.
        """
        try:
            return super().invoke(ctx)
        except TaskQError as error:
            text = "; ".join([str(error), *getattr(error, "__notes__", ())])
            raise click.ClickException(" ".join(text.split())) from error


def _plugins() -> Any:
    return entry_points(group="celery.commands")


def _load(plugin: Any) -> click.Command:
    try:
        command: click.Command = plugin.load()
    except Exception as error:
        reason = f"the command {plugin.name} of {plugin.value} can't be imported: {type(error).__name__}: {error}"

        def fail(*_: Any, **__: Any) -> None:
            raise click.ClickException(reason)

        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        return click.Command(plugin.name, callback=fail, context_settings=settings, short_help=f"(broken) {reason}")
    return command


def _change_folder(_context: click.Context, _option: click.Parameter, folder: Path | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _global(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=CeleryOption, help_group="Global Options", **attributes)


@click.group("celery", cls=_Program, invoke_without_command=True)
# The value may be an application: that of app.start().
@_global("-A", "--app", envvar="APP", type=click.UNPROCESSED)
@_global("-b", "--broker", envvar="BROKER_URL")
@_global("--result-backend", envvar="RESULT_BACKEND")
@_global("--loader", envvar="LOADER")
@_global("--config", envvar="CONFIG_MODULE")
@_global(
    "--workdir",
    type=Path,
    is_eager=True,
    callback=_change_folder,
)
@_global("-C", "--no-color", envvar="NO_COLOR", is_flag=True)
@_global("-q", "--quiet", is_flag=True)
@_global("--version", is_flag=True)
@_global(
    "--skip-checks", envvar="SKIP_CHECKS", is_flag=True, help="Skip Django's checks. The environment variable does so."
)
@click.pass_context
def celery(ctx: click.Context, /, **given: Any) -> None:
    """Run workers and beat, call tasks, and look at results, with the command line of Celery."""
    if given["version"]:
        from taskq_cloud.celery import VERSION_BANNER  # only this option shows it

        click.echo(VERSION_BANNER)
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit()
    os.environ.update({variable: given[name] for name, variable in _ENVIRONMENT.items() if given[name]})
    if given["skip_checks"]:
        os.environ["CELERY_SKIP_CHECKS"] = "true"
    app = _found(ctx, given["app"]) if isinstance(given["app"], str) else given["app"]
    ctx.obj = CLIContext(app=app, no_color=given["no_color"], workdir=given["workdir"], quiet=given["quiet"])
    _put_in_settings(ctx.obj.app, given)
    if isinstance(given["app"], str):
        ctx.meta["taskq_cloud.celery.app_path"] = given["app"]
    for command in (worker, beat, events):
        _add_options(command, ctx.obj.app.user_options.get(command.name, ()))
    _add_user_options(ctx, celery.commands.values())


def _found(ctx: click.Context, path: str) -> Any:
    try:
        return find_app(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            ctx.fail(UNABLE_TO_LOAD_APP_ERROR_OCCURRED.format(path, traceback.format_exc()))
        ctx.fail(UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND.format(error.name))
    except AttributeError as error:
        ctx.fail(UNABLE_TO_LOAD_APP_APP_MISSING.format(str(error.args[0]).capitalize()))
    except Exception:
        ctx.fail(UNABLE_TO_LOAD_APP_ERROR_OCCURRED.format(path, traceback.format_exc()))


def _put_in_settings(app: Any, given: dict[str, Any]) -> None:
    """Set what the command line says on an application that had been made before."""
    for name, setting in (("broker", "broker_url"), ("result_backend", "result_backend")):
        if given[name] and app.conf.get(setting) != given[name]:
            app.conf[setting] = given[name]


def _add_options(command: click.Command, options: Any) -> None:
    known = {id(each) for each in command.params}
    command.params += [option for option in options if id(option) not in known]


def _add_user_options(ctx: click.Context, commands: Any) -> None:
    """Give commands the options that the application adds to all of them."""
    if ctx.obj is None:
        return
    options = ctx.obj.app.user_options.get("preload", ())
    for command in list(commands) if options else ():
        _add_options(command, options)
        command.callback = consume_preload_options(command.callback)


@celery.command(cls=CeleryCommand)
@click.pass_context
def report(ctx: click.Context, /, **_options: Any) -> None:
    """Print facts about the application and its environment that help with the report of a bug."""
    ctx.obj.app.loader.import_default_modules()
    ctx.obj.echo(ctx.obj.app.bugreport())


for _command in (
    amqp,
    beat,
    call,
    control,
    events,
    graph,
    inspect,
    list_,
    logtool,
    migrate,
    multi,
    purge,
    result,
    shell,
    status,
    upgrade,
    worker,
):
    celery.add_command(_command)

WRONG_APP_OPTION_USAGE_MESSAGE: Final = """You are using `{option_name}` as an option of the {info_name} sub-command:
celery {info_name} {option_name} celeryapp <...>

The support for this usage was removed in Celery 5.0. Instead you should use `{option_name}` as a global option:
celery {option_name} celeryapp {info_name} <...>"""


def main(argv: Sequence[str] | None = None, app: Any = None) -> Any:
    """Run the program.

    Args:
        argv: the arguments, without the program's name, or ``sys.argv``; None: those of this process.
        app: the application, if ``-A`` names none.

    Returns:
        The exit code of a command that ends with one, if an application is given. Otherwise the process ends.
    """
    arguments = list(sys.argv[1:] if argv is None or argv is sys.argv else argv)
    if app is None:
        return celery(args=arguments, prog_name="celery", auto_envvar_prefix="CELERY")
    celery.params[0].default = app
    try:
        return celery.main(args=arguments, standalone_mode=False)
    except Exit as end:
        return end.exit_code
    finally:
        celery.params[0].default = None
