"""The ``taskq`` command: one file a command, imported when it is called, so that ``taskq call`` loads no worker.

A ``TaskQError`` becomes one line on standard error and exit code 1 (``-l debug`` adds its traceback); an option that
makes no sense is click's usage error, exit code 2.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any, Final

import click

from taskq_cloud.cli.common import common_options
from taskq_cloud.errors import TaskQError

logger = logging.getLogger(__name__)

COMMANDS: Final = (
    "beat",
    "call",
    "cost",
    "doctor",
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
    """The commands, each in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"taskq_cloud.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            ClickException: what click prints as ``Error: ...`` before it exits with 1.
        """
        try:
            return super().invoke(ctx)
        except TaskQError as error:
            logger.debug("%s", type(error).__name__, exc_info=error, extra={"action": "command.failed"})
            text = "; ".join([str(error), *getattr(error, "__notes__", ())])
            raise click.ClickException(" ".join(text.split())) from error


@click.group("taskq", cls=Commands)
@click.version_option(package_name="taskq-cloud")
@common_options
def main() -> None:
    """Run, call and look after the tasks of an application.

    The options below may stand before the command or after it: `taskq -A shop worker` is `taskq worker -A shop`.
    """
