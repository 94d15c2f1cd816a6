"""``taskq purge``: remove all messages from queues."""

from __future__ import annotations

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import common_options, queues_option
from taskq_cloud.cli.output import echo


@click.command("purge", short_help="Remove all messages from queues.")
@queues_option("The queues to purge")
@click.option("-f", "--force", is_flag=True, help="Purge without asking.")
@common_options
@click.pass_context
def command(context: click.Context, /, queues: tuple[str, ...], force: bool) -> None:
    """Remove all messages from queues, after asking: waiting and delayed messages, and messages that workers hold.

    Dead-letter queues are purged only if they are named.
    """
    app = open_app(context)
    app.check_queue_names(queues)
    names = app.priorities.expanded(queues) or app.queues()
    if not force:
        depths = {name: app.run(app.broker.depth(name)) for name in names}
        counts = ", ".join(f"{name} ({depth.total if depth else 'not counted'})" for name, depth in depths.items())
        click.confirm(f"All messages of these queues will be lost: {counts}. Purge?", abort=True, err=True)
    for name in names:
        count = app.run(app.broker.purge(name))
        removed = "all messages" if count is None else f"{count} message{'' if count == 1 else 's'}"
        echo(f"{name}: {removed} removed")
