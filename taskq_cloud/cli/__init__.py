"""The ``taskq`` command line.

Each command is a module of this package, named like the command and imported only when the command is called, so that
``taskq call`` doesn't load the worker. The other modules hold what commands share: ``options``, ``application``,
``output``, ``task_results`` and ``workflow_tree``.

A ``TaskQError`` is printed as one line on standard error, with exit code 1; ``-l debug`` logs its traceback as well. A
wrong option or argument is a usage error of click, with exit code 2.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click

from taskq_cloud.bootstrap.logs import printable
from taskq_cloud.cli.options import common_options
from taskq_cloud.errors import TaskQError
from taskq_cloud.runtime import signals

logger = logging.getLogger(__name__)

COMMANDS: Final = (
    "beat",
    "call",
    "celery",
    "cost",
    "doctor",
    "drain",
    "migrate",
    "package",
    "provision",
    "purge",
    "queues",
    "result",
    "scheduled",
    "topology",
    "worker",
)


class Commands(click.Group):
    """A group that imports a command from the module of its name when the command is called."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line. None: the command line of this process, whose signals are then the command's."""
        if args is None:
            signals.own_process()
        return super().main(args, *rest, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; return None if there is no command of this name."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in ("celery", "worker"):
            signals.end_on_signals()  # before the imports, which take most of a worker's start
        command: click.Command = import_module(f"taskq_cloud.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            ClickException: the command raised a ``TaskQError``; click prints it as ``Error: ...`` and exits with 1.
        """
        try:
            return super().invoke(ctx)
        except TaskQError as error:
            logger.debug("%s", type(error).__name__, exc_info=error, extra={"action": "command.failed"})
            text = "; ".join([str(error), *getattr(error, "__notes__", ())])
            raise click.ClickException(printable(" ".join(text.split()))) from error


@click.group("taskq", cls=Commands)
@click.version_option(package_name="taskq-cloud")
@common_options
def main() -> None:
    """Run workers, call tasks, and inspect the queues, results and deployment of an application.

    The options below can be given before or after the command: `taskq -A shop worker` and `taskq worker -A shop` do
    the same.
    """
