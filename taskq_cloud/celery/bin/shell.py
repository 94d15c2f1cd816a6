"""The command ``shell``: an interactive Python with the application and its tasks."""

from __future__ import annotations

import code
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from taskq_cloud.celery.bin.base import CeleryCommand, CeleryOption, handle_preload_options

_option = partial(click.option, cls=CeleryOption, help_group="Shell Options")

_NAMES = ("Task", "chord", "group", "chain", "chunks", "xmap", "xstarmap", "subtask", "signature")


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@_option("-I", "--ipython", is_flag=True, help="Use IPython.")
@_option("-B", "--bpython", is_flag=True, help="Use bpython.")
@_option("--python", is_flag=True, help="Use Python's own shell.")
@_option("-T", "--without-tasks", is_flag=True, help="Don't add the tasks.")
@_option("--eventlet", is_flag=True, help="Not supported.")
@_option("--gevent", is_flag=True, help="Not supported.")
@click.pass_context
@handle_preload_options
def shell(
    ctx: click.Context,
    /,
    ipython: bool = False,
    bpython: bool = False,
    python: bool = False,
    without_tasks: bool = False,
    eventlet: bool = False,
    gevent: bool = False,
    **_options: Any,
) -> None:
    """Start Python with the application (app, celery), the functions of workflows, and all tasks by their names."""
    if eventlet or gevent:
        raise click.UsageError("eventlet and gevent are not supported: remove the option")
    sys.path.insert(0, str(Path.cwd()))
    app = ctx.obj.app
    app.loader.import_default_modules()
    names = _names(app, tasks=not without_tasks)
    chosen = "python" if python else "bpython" if bpython else "IPython" if ipython else ""
    if chosen not in ("", "python") and find_spec(chosen) is None:
        raise click.ClickException(f"{chosen} is not installed: pip install {chosen.lower()}, or use --python")
    installed = [name for name in ("IPython", "bpython") if find_spec(name) is not None]
    _SHELLS[chosen or next(iter(installed), "python")](names)


def _names(app: Any, *, tasks: bool) -> dict[str, Any]:
    surface = import_module("taskq_cloud.celery")
    names = {"app": app, "celery": app, **{name: getattr(surface, name) for name in _NAMES}}
    if tasks:
        names |= {task.__name__: task for task in app.tasks.values() if not task.name.startswith("celery.")}
    return names


def _ipython(names: dict[str, Any]) -> None:
    import_module("IPython").start_ipython(argv=[], user_ns=names)


def _bpython(names: dict[str, Any]) -> None:
    import_module("bpython").embed(names)


def _python(names: dict[str, Any]) -> None:
    if find_spec("readline") is not None:
        readline, completer = import_module("readline"), import_module("rlcompleter")
        readline.set_completer(completer.Completer(names).complete)
        readline.parse_and_bind("tab:complete")
    code.interact(local=names)


_SHELLS = {"IPython": _ipython, "bpython": _bpython, "python": _python}
