"""``taskq beat``: periodic tasks run by a ticker of our own."""

from __future__ import annotations

import asyncio

import click

from taskq_cloud.beat.running import make_ticker, tick_until_signal
from taskq_cloud.cli.common import common_options, open_app


@click.group("beat", short_help="Run periodic tasks, or have the platform run them.")
@common_options
def command() -> None:
    """Run an application's periodic tasks, or have the platform run them."""


@command.command("run", short_help="Send periodic tasks when they are due, until told to stop.")
@common_options
@click.pass_context
def run(context: click.Context, /) -> None:
    """Send each periodic task's message when it is due, until SIGTERM or SIGINT.

    Several may run: one sends, the others stand by. Not needed where the platform's scheduler has the schedules.
    """
    app = open_app(context, loglevel="info")
    ticker = make_ticker(app, app.schedule_entries())
    asyncio.run(tick_until_signal(ticker, app.arun, app.aclose))
