"""``taskq provision``: create queues, tables and buckets in emulators and sandboxes."""

from __future__ import annotations

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import common_options
from taskq_cloud.cli.output import echo, say
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.servers.postgresql import HasTables
from taskq_cloud.deploy.doctor.calls import services
from taskq_cloud.deploy.provision import Provisioner
from taskq_cloud.deploy.provision_servers import ServerProvisioner
from taskq_cloud.errors import ImproperlyConfigured


@click.command("provision", short_help="Create queues, tables and buckets.")
@click.option("--dry-run", is_flag=True, help="Print the changes without making them.")
@click.option("--sql", is_flag=True, help="Print the statements that create the tables in PostgreSQL, and do nothing.")
@common_options
@click.pass_context
def command(context: click.Context, /, dry_run: bool, sql: bool) -> None:
    """Create or update the queues, tables, buckets and schedule group that the application needs.

    Queues are created on SQS and RabbitMQ, tables in DynamoDB and PostgreSQL. On AWS the command is meant for sandboxes
    and for emulators such as LocalStack. It never deletes anything. Functions, containers and roles are not created:
    Terraform deploys them.

    Workers and callers create queues and tables on servers, too, if they may do that. --sql prints the statements that
    create tables in PostgreSQL, for a role that may.
    """
    app = open_app(context)
    if sql:
        scripts = [each.script for each in (app.broker, app.store) if isinstance(each, HasTables)]
        if not scripts:
            raise ImproperlyConfigured("--sql: neither the broker nor the result store keeps tables in PostgreSQL")
        echo("\n".join(scripts))
        return
    topology = app.topology()
    connections = Connections(services(topology, app.services()))
    provisioners = (
        Provisioner(topology, dry_run=dry_run),
        on_servers := ServerProvisioner(topology, app, dry_run=dry_run),
    )
    try:
        for each in provisioners:
            connections.run(each.run())
    finally:
        connections.close()
        changes = [change for each in provisioners for change in each.changes]
        for change in changes:
            echo(f"would {change}" if dry_run else change)
    for note in on_servers.notes:
        say(context, note)
    if not changes:
        say(context, "Everything is there, as the application declares it.")
