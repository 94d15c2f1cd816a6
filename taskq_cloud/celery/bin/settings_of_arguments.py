"""Settings on the command line, after the options: ``-- worker.prefetch_multiplier=1``."""

from __future__ import annotations

from typing import Any

import click


def read_settings(ctx: click.Context, app: Any, **options: Any) -> None:
    """Set the settings that stand after the options of a command.

    Raises:
        UsageError: an argument isn't a setting.
    """
    if not ctx.args:
        return
    try:
        app.config_from_cmdline(ctx.args, **options)
    except (KeyError, ValueError) as error:
        raise click.UsageError(
            f"Unable to parse extra configuration from command line.\nReason: {error}", ctx=ctx
        ) from error
