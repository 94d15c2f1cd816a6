"""The commands ``control``, ``inspect`` and ``status``, which speak to workers.

What needs no answer of a worker works: ``control revoke``. Other commands say in one line that workers can't be asked,
and what shows the same.
"""

from __future__ import annotations

import json as _json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import click

from taskq_cloud.celery.app.mailbox import INSTEAD, OTHERWISE
from taskq_cloud.celery.bin.base import (
    COMMA_SEPARATED_LIST,
    EX_UNAVAILABLE,
    CeleryCommand,
    CeleryOption,
    handle_preload_options,
    handle_remote_command_error,
)
from taskq_cloud.celery.command_exception import CeleryCommandException
from taskq_cloud.celery.utils import text
from taskq_cloud.celery.worker.control import Panel

_Kind: TypeAlias = Literal["inspect", "control"]

_option = partial(click.option, cls=CeleryOption, help_group="Remote Control Options")


def _timing(function: Any) -> Any:
    for option in (
        _option("-j", "--json", is_flag=True, help="Print JSON."),
        _option("-d", "--destination", type=COMMA_SEPARATED_LIST, help="Names of workers, separated by commas."),
        _option("-t", "--timeout", type=float, default=1.0, help="The seconds to wait for replies."),
    ):
        function = option(function)
    return function


def _list_option(kind: _Kind) -> Callable[[Any], Any]:
    def show(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        if not value:
            return
        rows = [
            (f"{name} {info.signature}" if info.signature else name, info.help)
            for name, info in _commands_of(kind).items()
        ]
        formatter = click.HelpFormatter()
        with formatter.section(f"{kind.capitalize()} Commands"):
            formatter.write_dl(rows)
        ctx.obj.echo(formatter.getvalue(), nl=False)
        ctx.exit()

    text = f"List the {kind} commands."
    return click.option("--list", is_flag=True, expose_value=False, is_eager=True, callback=show, help=text)


def _commands_of(kind: _Kind) -> dict[str, Any]:
    return {name: info for name, info in sorted(Panel.meta.items()) if info.type == kind and info.visible}


def _verify_command_name(kind: _Kind, command: str) -> None:
    known = _commands_of(kind)
    if command not in known:
        raise click.UsageError(f"Command {command} not recognized. Available {kind} commands: {', '.join(known)}")


def _compile_arguments(command: str, args: list[str]) -> dict[str, Any]:
    """Turn the arguments of a command line into the keyword arguments of a command."""
    info = Panel.meta[command]
    arguments = {}
    rest = list(args)
    for name, kind in info.args or ():
        if rest:
            given = rest.pop(0)
            arguments[name] = kind(given) if kind is not None else given
    if info.variadic:
        arguments[info.variadic] = rest
    elif rest:
        raise click.UsageError(f"Command {command!r} takes arguments: {info.signature}")
    return arguments


def _ask(what: str, command: str, ask: Callable[[], Any]) -> Any:
    try:
        replies = ask()
    except NotImplementedError as error:
        reason = f"workers can't be asked yet: {INSTEAD.get(command, OTHERWISE)}"
        handle_remote_command_error(what, NotImplementedError(f"`celery {what}`: {reason}").with_traceback(None))
        raise AssertionError from error  # never reached: the line above raises
    except Exception as error:
        handle_remote_command_error(what, error)
    if not replies:
        raise CeleryCommandException(message="No nodes replied within time constraint", exit_code=EX_UNAVAILABLE)
    return replies


def _say_reply(ctx: click.Context, replies: dict[str, Any], show_reply: bool = False) -> None:
    node = next(iter(replies))
    status, body = ctx.obj.pretty(replies[node])
    name = ctx.obj.style(f"{node}: ", fg="cyan", bold=True)
    ctx.obj.say_chat("->", f"{name}{status}", text.indent(body, 4) if show_reply else "", show_body=show_reply)


def _count(ctx: click.Context, replies: Any) -> None:
    ctx.obj.echo(f"\n{len(replies)} {text.pluralize(len(replies), 'node')} online.")


@click.command(cls=CeleryCommand)
@_timing
@click.pass_context
@handle_preload_options
def status(ctx: click.Context, /, timeout: float, destination: Any, json: bool, **_options: Any) -> None:
    """List the workers that run."""
    callback = None if json else partial(_say_reply, ctx)
    control = ctx.obj.app.control
    replies = _ask(
        "status",
        "ping",
        lambda: control.inspect(timeout=timeout, destination=destination, callback=callback).ping(),
    )
    if json:
        ctx.obj.echo(_json.dumps(replies))
    _count(ctx, replies)


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@click.argument("command")
@_list_option("inspect")
@_timing
@click.pass_context
@handle_preload_options
def inspect(ctx: click.Context, /, command: str, timeout: float, destination: Any, json: bool, **_options: Any) -> None:
    """Ask workers with the inspect command COMMAND."""
    _verify_command_name("inspect", command)
    arguments = _compile_arguments(command, ctx.args)
    callback = None if json else partial(_say_reply, ctx, show_reply=True)

    def ask() -> Any:
        asked = ctx.obj.app.control.inspect(timeout=timeout, destination=destination, callback=callback)
        request = getattr(asked, "_request", None)
        return getattr(asked, command)() if request is None else request(command, **arguments)

    replies = _ask(f"inspect {command}", command, ask)
    if json:
        ctx.obj.echo(_json.dumps(replies))
    elif not ctx.obj.quiet:
        _count(ctx, replies)


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@click.argument("command")
@_list_option("control")
@_timing
@click.pass_context
@handle_preload_options
def control(ctx: click.Context, /, command: str, timeout: float, destination: Any, json: bool, **_options: Any) -> None:
    """Send the control command COMMAND to workers."""
    _verify_command_name("control", command)
    arguments = _compile_arguments(command, ctx.args)
    app = ctx.obj.app
    if command == "revoke":
        app.control.revoke(arguments["task_id"])
        ctx.obj.echo(f"{len(arguments['task_id'])} {text.pluralize(len(arguments['task_id']), 'task')} revoked.")
        return
    callback = None if json else partial(_say_reply, ctx, show_reply=True)
    replies = _ask(
        f"control {command}",
        command,
        lambda: app.control.broadcast(
            command, timeout=timeout, destination=destination, callback=callback, reply=True, arguments=arguments
        ),
    )
    if json:
        ctx.obj.echo(_json.dumps(replies))
