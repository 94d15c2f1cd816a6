"""``taskq doctor``: holds a live deployment against what the application declares, and explains each difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from taskq_cloud.cli.common import app_path, common_options, open_app, say
from taskq_cloud.clients.connections import Connections
from taskq_cloud.deploy.doctor import observe
from taskq_cloud.deploy.doctor.calls import services
from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.errors import ImproperlyConfigured


@click.command("doctor", short_help="Compare a deployment with what the application declares.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--cluster", metavar="NAME", help="The cluster of ECS that the services run in.  [default: the deployment's name]"
)
@click.option(
    "--skip",
    multiple=True,
    type=click.Choice(observe.SKIPPABLE),
    help="An area that is not looked at; may be given several times.",
)
@common_options
@click.pass_context
def command(context: click.Context, /, form: str, cluster: str | None, skip: tuple[str, ...]) -> None:
    """Compare a deployment on AWS with what the application declares, and explain each difference. Changes nothing.

    \b
    Exit codes:
      0  nothing was found, or warnings only
      1  errors were found (or the command went wrong: see standard error)
    """  # noqa: D301 - click reads a real backspace
    app = open_app(context)
    topology = app.topology(app_path=app_path(context))
    if topology.provider != "aws":
        raise ImproperlyConfigured(
            "taskq doctor looks at AWS only; on Pub/Sub a worker looks at its subscriptions itself"
        )
    connections = Connections(services(topology, app.services()))
    try:
        found = findings(topology, connections.run(observe.everything(topology, cluster, skip)))
    finally:
        connections.close()
    if form == "json":
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    elif found:
        click.echo(_as_text(found))
    else:
        say(context, "The deployment is as the application declares it.")
    context.exit(1 if any(each.severity == "error" for each in found) else 0)


def _as_text(found: Sequence[Finding]) -> str:
    return "\n\n".join(
        f"{each.severity.upper()} {each.resource}: {each.difference} [{each.check}]\n"
        f"  so:  {each.consequence}\n"
        f"  do:  {each.remedy}"
        for each in found
    )
