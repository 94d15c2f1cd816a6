"""``taskq doctor``: compare a live deployment with what the application declares, and explain each difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import app_path, common_options
from taskq_cloud.cli.output import echo, json_text, say
from taskq_cloud.clients.connections import Connections
from taskq_cloud.deploy.doctor import observe, observe_google, observe_servers
from taskq_cloud.deploy.doctor.calls import services, uses_no_tls
from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.doctor.finding import Finding

OF_SERVICES: Final = ("alarms", "functions", "logs", "roles", "scaling", "services", "undeclared")
"""The areas that can't be checked where nobody names the cluster of the services."""


@click.command("doctor", short_help="Compare a deployment with what the application declares.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The format of the findings.",
)
@click.option("--cluster", metavar="NAME", help="The ECS cluster of the services.  [default: the deployment's name]")
@click.option(
    "--location",
    metavar="NAME",
    help="The location of the worker pools on Google Cloud.  [default: that of the jobs of Cloud Scheduler]",
)
@click.option(
    "--skip",
    multiple=True,
    type=click.Choice(observe.SKIPPABLE),
    help="An area that isn't checked; can be repeated.",
)
@common_options
@click.pass_context
def command(
    context: click.Context, /, output_format: str, cluster: str | None, location: str | None, skip: tuple[str, ...]
) -> None:
    """Compare a deployment with what the application declares, and explain each difference.

    Nothing is changed, except that a record is written to a result store on a server and removed again.

    \b
    Exit codes:
      0  there are no findings, or only warnings
      1  there are errors, or the command failed (see standard error)
    """
    app = open_app(context)
    topology = app.topology(app_path=app_path(context))
    if uses_no_tls(app.services()):
        # A local stack: a policy that denies requests without TLS would deny the application's own.
        skip = (*skip, "tls")
    if topology.provider == "google" and observe_google.location_of(topology, location) is None:
        say(context, "The worker pools are not checked: name their location with --location.")
    if topology.server_queues and cluster is None:
        # Nothing tells whether the application's machines are on AWS at all.
        say(context, "The services are not checked: name their ECS cluster with --cluster.")
        skip = (*skip, *OF_SERVICES)
    connections = Connections(services(topology, app.services()))
    try:
        observed = connections.run(observe.everything(topology, cluster, skip, location))
        if "servers" not in skip:
            observed = replace(observed, servers=connections.run(observe_servers.servers(topology, app)))
        found = findings(topology, observed)
    finally:
        connections.close()
    if output_format == "json":
        echo(json_text([asdict(finding) for finding in found], indent=2))
    elif found:
        echo(_as_text(found))
    else:
        say(context, "The deployment is as the application declares it.")
    context.exit(1 if any(finding.severity == "error" for finding in found) else 0)


def _as_text(found: Sequence[Finding]) -> str:
    return "\n\n".join(
        f"{finding.severity.upper()} {finding.resource}: {finding.difference} [{finding.check}]\n"
        f"  so:  {finding.consequence}\n"
        f"  do:  {finding.remedy}"
        for finding in found
    )
