"""``taskq topology``: what the application needs deployed, for Terraform, IAM, programs and people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from taskq_cloud.cli.common import app_path, common_options, open_app, say
from taskq_cloud.deploy.topology.formats import graph, iam, json, tfvars
from taskq_cloud.deploy.topology.model import Topology

_WRITERS: Final[dict[str, Callable[[Topology, iam.Place], str]]] = {
    "tfvars": lambda topology, _: tfvars.write(topology),
    "json": lambda topology, _: json.write(topology),
    "iam": iam.write,
    "graph": lambda topology, _: graph.write(topology),
    "mermaid": lambda topology, _: graph.write_mermaid(topology),
}


@click.command("topology", short_help="Say what the application needs deployed.")
@click.option(
    "--format", "form", type=click.Choice([*_WRITERS]), default="tfvars", show_default=True, help="How it is written."
)
@click.option("--account", metavar="ID", help="iam: the AWS account, instead of {account} in ARNs.")
@click.option("--region", metavar="NAME", help="iam: the Region, where the broker's URL names none.")
@click.option("--partition", metavar="NAME", default="aws", show_default=True, help="iam: the partition of ARNs.")
@common_options
@click.pass_context
def command(context: click.Context, /, form: str, account: str | None, region: str | None, partition: str) -> None:
    """Say what the application needs deployed: queues, functions, containers, tables, buckets and permissions.

    \b
    tfvars   the variables of the Terraform root module: write it to terraform.tfvars.json
    json     all of it, as docs/topology.md describes
    iam      a policy document for each role
    graph    a drawing in DOT;  mermaid: the same as a Mermaid flowchart
    """  # noqa: D301 - click reads a real backspace
    app = open_app(context)
    topology = app.topology(app_path=app_path(context))
    text = _WRITERS[form](topology, iam.Place(account, region, partition))
    click.echo(text)
    if form == "iam":
        left = [name for name in ("account", "region") if f"{{{name}}}" in text]
        if left:
            say(context, f"Placeholders are left in ARNs; give them values: {', '.join(f'--{name}' for name in left)}.")
