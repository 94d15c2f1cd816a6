"""The command ``list bindings``: shows which queue a message with a routing key goes to."""

from __future__ import annotations

import click

from taskq_cloud.celery.bin.base import CeleryCommand, handle_preload_options


@click.group(name="list")
@click.pass_context
@handle_preload_options
def list_(ctx: click.Context) -> None:
    """Show the queues that the application declares."""


@list_.command(cls=CeleryCommand)
@click.pass_context
def bindings(ctx: click.Context) -> None:
    """Show the exchange and the routing key of each queue that the application declares."""

    def line(queue: str, exchange: str, key: str) -> None:
        ctx.obj.echo(f"{queue:<28} {exchange:<28} {key}")

    line("Queue", "Exchange", "Routing Key")
    line(*(["-" * 16] * 3))
    for name, queue in sorted(ctx.obj.app.amqp.queues.items()):
        exchange = getattr(queue.exchange, "name", queue.exchange)
        line(name, str(exchange or ""), str(queue.routing_key or ""))
