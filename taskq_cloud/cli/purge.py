"""``taskq purge``: remove all messages of queues."""

from __future__ import annotations

import click

from taskq_cloud.cli.common import common_options, open_app, queue_names


@click.command("purge", short_help="Remove all messages of queues.")
@click.option(
    "-Q", "--queues", callback=queue_names, metavar="A,B", help="The queues to empty.  [default: the application's]"
)
@click.option("-f", "--force", is_flag=True, help="Don't ask.")
@common_options
@click.pass_context
def command(context: click.Context, /, queues: tuple[str, ...], force: bool) -> None:
    """Remove all messages of queues: those waiting, those delayed, and those a worker has not finished yet."""
    app = open_app(context)
    names = queues or tuple(app.queues())
    if not force:
        depths = {name: app.run(app.broker.depth(name)) for name in names}
        held = ", ".join(f"{name} ({depth.total if depth else 'not counted'})" for name, depth in depths.items())
        click.confirm(f"All messages are lost: {held}. Purge?", abort=True, err=True)
    for name in names:
        count = app.run(app.broker.purge(name))
        purged = "all messages" if count is None else f"{count} message{'' if count == 1 else 's'}"
        click.echo(f"{name}: {purged} removed")
