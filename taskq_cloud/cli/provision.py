"""``taskq provision``: creates queues, tables and buckets, for emulators and sandboxes."""

from __future__ import annotations

import click

from taskq_cloud.cli.common import common_options, open_app, say
from taskq_cloud.clients.connections import Connections
from taskq_cloud.deploy.doctor.calls import services
from taskq_cloud.deploy.provision import Provisioner


@click.command("provision", short_help="Create queues, tables and buckets (sandboxes, LocalStack).")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@common_options
@click.pass_context
def command(context: click.Context, /, dry_run: bool) -> None:
    """Create or change the queues, tables, buckets and schedule group that the application needs on AWS.

    What is as it should be is left alone, and nothing is ever deleted. Functions, containers and roles are Terraform's.
    """
    app = open_app(context)
    topology = app.topology()
    connections = Connections(services(topology, app.services()))
    provisioner = Provisioner(topology, dry_run=dry_run)
    try:
        connections.run(provisioner.run())
    finally:
        connections.close()
        for change in provisioner.changes:
            click.echo(f"would {change}" if dry_run else change)
    if not provisioner.changes:
        say(context, "Everything is there, as the application declares it.")
