"""``taskq topology``: print the cloud resources that the application needs, for Terraform, IAM, programs and people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import app_path, common_options
from taskq_cloud.cli.output import echo, say
from taskq_cloud.deploy.topology.formats import graph, iam, json, tfvars
from taskq_cloud.deploy.topology.model import Topology

_WRITERS: Final[dict[str, Callable[[Topology, iam.ArnPlaceholders], str]]] = {
    "tfvars": lambda topology, _: tfvars.write(topology),
    "json": lambda topology, _: json.write(topology),
    "iam": iam.write,
    "graph": lambda topology, _: graph.write(topology),
    "mermaid": lambda topology, _: graph.write_mermaid(topology),
}


@click.command("topology", short_help="Print the cloud resources that the application needs.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice([*_WRITERS]),
    default="tfvars",
    show_default=True,
    help="The format to print.",
)
@click.option("--account", metavar="ID", help="With iam: the AWS account in ARNs.  [default: a placeholder]")
@click.option("--region", metavar="NAME", help="With iam: the Region in ARNs.  [default: from the broker's URL]")
@click.option(
    "--partition", metavar="NAME", default="aws", show_default=True, help="With iam: the AWS partition in ARNs."
)
@common_options
@click.pass_context
def command(
    context: click.Context, /, output_format: str, account: str | None, region: str | None, partition: str
) -> None:
    """Print the cloud resources that the application needs: queues, functions, containers, tables, buckets and roles.

    \b
    Formats:
      tfvars   the input `declared` of the Terraform modules, for taskq.tfvars.json
      json     the whole topology, as docs/topology.md describes it
      iam      an IAM policy document for each role
      graph    a drawing in DOT, the language of Graphviz
      mermaid  a drawing as a Mermaid flowchart
    """
    app = open_app(context)
    topology = app.topology(app_path=app_path(context))
    text = _WRITERS[output_format](topology, iam.ArnPlaceholders(account, region, partition))
    echo(text)
    if output_format == "iam":
        missing = [f"--{name}" for name in ("account", "region") if f"{{{name}}}" in text]
        if missing:
            say(context, f"The ARNs contain placeholders; {' and '.join(missing)} would fill them in.")
