"""Commands of Celery that have no counterpart here: each says why not, and what does the work instead."""

from __future__ import annotations

from typing import Any

import click


def refusing_command(name: str, *, short_help: str, reason: str) -> click.Command:
    """Make a command that takes any arguments, prints one line and ends with exit code 1.

    Args:
        name: the command's name.
        short_help: its line in the help text.
        reason: why it isn't supported, and what to use instead.
    """

    def refuse(*_: Any, **__: Any) -> None:
        raise click.ClickException(f"`celery {name}` is not supported: {reason}")

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        short_help=short_help,
        help=f"Not supported: {reason}.",
    )
