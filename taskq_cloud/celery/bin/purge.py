"""The command ``purge``: deletes messages."""

from __future__ import annotations

from functools import partial

import click

from taskq_cloud.celery.bin.base import COMMA_SEPARATED_LIST, CeleryCommand, CeleryOption, handle_preload_options
from taskq_cloud.celery.native.purging import purge as purge_queues
from taskq_cloud.celery.utils import text

_option = partial(click.option, cls=CeleryOption, help_group="Purging Options")


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@_option("-f", "--force", is_flag=True, help="Purge without asking.")
@_option("-Q", "--queues", type=COMMA_SEPARATED_LIST, help="The queues to purge, separated by commas.")
@_option("-X", "--exclude-queues", type=COMMA_SEPARATED_LIST, help="Queues not to purge, separated by commas.")
@click.pass_context
@handle_preload_options
def purge(
    ctx: click.Context, /, force: bool, queues: list[str] | None, exclude_queues: list[str] | None, **_options: object
) -> None:
    """Delete all messages of the queues that the application declares. They are lost."""
    app = ctx.obj.app
    names = sorted({*(queues or app.amqp.queues.keys())} - {*(exclude_queues or ())})
    if not names:
        return
    count = f"{len(names)} {text.pluralize(len(names), 'queue')}"
    if not force:
        warning = ctx.obj.style("WARNING", fg="red")
        click.confirm(
            f"{warning}: This will remove all tasks from {text.pluralize(len(names), 'queue')}: {', '.join(names)}.\n"
            "         There is no undo for this operation!\n\n(to skip this prompt use the -f option)\n"
            "Are you sure you want to delete all tasks?",
            abort=True,
        )
    messages = purge_queues(app, names)
    if messages:
        ctx.obj.echo(
            f"Purged {messages} {text.pluralize(messages, 'message')} from {len(names)} known task "
            f"{text.pluralize(len(names), 'queue')}."
        )
    else:
        ctx.obj.echo(f"No messages purged from {count}.")
