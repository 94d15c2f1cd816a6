"""``taskq cost``: what so many tasks a day cost, from the application's topology and a list of prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from taskq_cloud.cli.common import app_path, common_options, open_app, say
from taskq_cloud.deploy.costs import report
from taskq_cloud.deploy.costs.load import Load
from taskq_cloud.deploy.costs.model import usage
from taskq_cloud.deploy.costs.prices import OWN_LIST, read_prices
from taskq_cloud.deploy.costs.serving import of_application, read_tasks

_USUAL: Final = Load()


@click.command("cost", short_help="Say what so many tasks a day cost.")
@click.option(
    "--tasks-per-day", required=True, multiple=True, metavar="N|QUEUE=N", help="Tasks, of all queues or of one."
)
@click.option("--payload-bytes", type=int, default=_USUAL.payload_bytes, show_default=True, help="Of arguments.")
@click.option("--result-bytes", type=int, default=_USUAL.result_bytes, show_default=True, help="Of results.")
@click.option("--run-seconds", type=float, default=_USUAL.run_seconds, show_default=True, help="A run takes.")
@click.option("--retries", type=float, default=_USUAL.retries, show_default=True, help="Of a task.")
@click.option("--reads", type=float, default=_USUAL.reads, show_default=True, help="Looks at a result.")
@click.option("--chord-size", type=int, default=0, show_default=True, help="Members of each chord; 0: no chords.")
@click.option(
    "--eta-share", type=float, default=_USUAL.eta_share, show_default=True, help="Share of tasks with an eta."
)
@click.option("--eta-seconds", type=float, default=_USUAL.eta_seconds, show_default=True, help="How far ahead it is.")
@click.option("--send-batch", type=float, default=1, show_default=True, help="Calls a request sends.")
@click.option("--messages-per-request", type=float, default=1, show_default=True, help="Received and settled by one.")
@click.option("--idle-hours", type=float, help="Of a day, in which polls bring nothing.  [default: the rest]")
@click.option("--region", metavar="NAME", help="Whose prices.  [default: us-east-1; Google: us-central1]")
@click.option("--prices", "path", type=click.Path(path_type=Path), default=OWN_LIST, help="Another list of prices.")
@click.option("--free-tier", is_flag=True, help="Leave out what a month has free.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@common_options
@click.pass_context
def command(
    context: click.Context,
    /,
    tasks_per_day: tuple[str, ...],
    region: str | None,
    path: Path,
    free_tier: bool,
    form: str,
    **averages: Any,
) -> None:
    """Say what so many tasks a day cost: calls, functions, containers, at list prices.

    The application says which tasks run in functions and which in containers, how large those are, and where results
    go; the options say what its tasks are like on average. docs/cost.md has what is counted, and what is not.
    """
    load = Load(**averages)
    tasks = read_tasks(tasks_per_day)
    app = open_app(context)
    topology = app.topology(app_path=app_path(context))
    own = "us-central1" if topology.provider == "google" else "us-east-1"
    if region is None and topology.region not in (None, own):
        say(context, f"At the prices of {own}; the application's Region is {topology.region}: --region, --prices.")
    prices = read_prices(path, region or own)
    served = of_application(topology, app.conf, tasks)
    costs = report.price(usage(served, load), prices, free_tier=free_tier)
    write = report.as_json if form == "json" else report.as_text
    click.echo(write(costs, prices, served.tasks))
