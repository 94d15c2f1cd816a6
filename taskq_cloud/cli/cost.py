"""``taskq cost``: estimate what a number of tasks per day costs, from the application's topology and a price list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import C, app_path, common_options
from taskq_cloud.cli.output import echo, say
from taskq_cloud.deploy.costs import report
from taskq_cloud.deploy.costs.load import Load
from taskq_cloud.deploy.costs.model import usage
from taskq_cloud.deploy.costs.prices import OWN_LIST, read_prices, regions_of
from taskq_cloud.deploy.costs.servers import server_work
from taskq_cloud.deploy.costs.serving import of_application, read_tasks

_DEFAULTS: Final = Load()


def _average(name: str, text: str) -> Callable[[C], C]:
    """Return the option that sets one of the averages of ``Load``."""
    default = getattr(_DEFAULTS, name)
    return click.option(
        f"--{name.replace('_', '-')}", name, type=type(default), default=default, show_default=True, help=text
    )


@click.command("cost", short_help="Estimate what a number of tasks per day costs.")
@click.option(
    "--tasks-per-day",
    required=True,
    multiple=True,
    metavar="N|QUEUE=N",
    help="Tasks per day: one number for all queues, or QUEUE=N for each queue; can be repeated.",
)
@_average("payload_bytes", "Size of a task's arguments, in bytes.")
@_average("result_bytes", "Size of a task's result, in bytes.")
@_average("run_seconds", "Seconds that a task runs.")
@_average("retries", "Retries per task.")
@_average("reads", "Times that callers read a task's result.")
@_average("chord_size", "Members of each chord; 0 means no chords.")
@_average("eta_share", "Share of tasks called with an eta or a countdown, from 0 to 1.")
@_average("eta_seconds", "Seconds from the call of such a task to its eta.")
@_average("send_batch", "Calls sent per request: 1 with delay, up to 10 with map_async and groups.")
@_average("messages_per_request", "Messages that a worker receives and deletes per request, from 1 to 10.")
@click.option(
    "--idle-hours",
    type=float,
    help="Hours per day in which the queues are polled but empty.  [default: the hours in which no task runs]",
)
@click.option(
    "--region",
    metavar="NAME",
    help="The Region whose prices apply.  [default: the application's, if the list has it; otherwise us-east-1; on "
    "Google: us-central1]",
)
@click.option(
    "--prices", "path", type=click.Path(path_type=Path), default=OWN_LIST, help="A price list to use instead of ours."
)
@click.option("--free-tier", is_flag=True, help="Subtract the providers' monthly free tier.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The format of the estimate.",
)
@common_options
@click.pass_context
def command(
    context: click.Context,
    /,
    tasks_per_day: tuple[str, ...],
    region: str | None,
    path: Path,
    free_tier: bool,
    output_format: str,
    **averages: Any,
) -> None:
    """Estimate what a number of tasks per day costs at list prices: messages, results, functions, containers.

    The application says which tasks run in functions and which in containers, how large these are, and where results
    are stored. A server such as Redis is paid by the hour: its work is counted, and has no price here. The options
    describe an average task. docs/cost.md lists what is counted, and what isn't.
    """
    load = Load(**averages)
    tasks = read_tasks(tasks_per_day)
    app = open_app(context)
    topology = app.topology(app_path=app_path(context))
    priced = "us-central1" if topology.provider == "google" else "us-east-1"
    if region is None and topology.region is not None and topology.region in regions_of(path):
        priced = topology.region
    elif region is None and topology.region is not None:
        say(
            context,
            f"At the prices of {priced}; the application's Region is {topology.region}. For other prices, add --region "
            "and --prices.",
        )
    prices = read_prices(path, region or priced)
    served = of_application(topology, app.conf, tasks)
    costs = report.price(usage(served, load), prices, free_tier=free_tier)
    write = report.as_json if output_format == "json" else report.as_text
    echo(write(costs, prices, served.tasks, server_work(served, load)))
