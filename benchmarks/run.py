"""Measure taskq_cloud beside other task queues, and write the tables and the plot of docs/benchmarks.md.

Counts (requests, bytes, modules) are exact and repeat. Times depend on the machine, and mean something only in
comparison. Because a machine's speed drifts, rounds alternate between the contenders and the tables show medians.

    python benchmarks/run.py [sqs] [results] [embedded] [trips] [servers] [--rounds 3] [--scale 0.01]
        [--only taskq_cloud] [--write]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from common import create_table, write_table
from contenders import EMBEDDED, ON_SERVERS, ON_SQS, RESULTS, ROUND_TRIPS, Contender
from measuring import Servers, at_rest, drain, first_call, requests, round_trips
from rendering import Found, goals, plot, server_goals, tables

from emulators.aws import Ministack
from emulators.servers import SERVERS, server
from emulators.speed import fauxqs, fauxqs_missing, redis_missing, redis_server

TASKS = 5_000
COUNTED_TASKS = 1_000
TRIPS = 300
REST_SECONDS = 25.0
"""Longer than a long poll."""

PARTS = {"sqs": ON_SQS, "results": RESULTS, "embedded": EMBEDDED, "trips": ROUND_TRIPS, "servers": ON_SERVERS}
_PLOTTED = ("sqs", "results", "embedded", "trips")
"""The parts of the page's first tables, of its goals and of its plot."""


def measurements(
    part: str, contender: Contender, scale: float, *, first: bool
) -> Iterator[Callable[[Contender, Servers], dict[str, float]]]:
    """Yield what a round measures of a contender. What repeats exactly is measured in the first round only."""
    if part == "trips" or (part == "servers" and contender.results):
        yield lambda contender, servers: round_trips(contender, servers, max(10, int(TRIPS * scale)))
    if part == "trips":
        return
    yield lambda contender, servers: drain(contender, servers, int(TASKS * scale))
    if first and part in ("sqs", "results"):
        yield lambda contender, servers: requests(contender, servers, int(COUNTED_TASKS * scale))
    if part == "sqs":
        yield first_call
        if first:
            yield lambda contender, servers: at_rest(contender, servers, REST_SECONDS * scale)


@contextmanager
def servers_for(contender: Contender, rabbitmq: Callable[[], str]) -> Iterator[Servers]:
    """Start the servers that a contender needs. They are new, as what one run leaves must not slow the next.

    Args:
        contender: the contender.
        rabbitmq: returns the URL of RabbitMQ, which takes too long to start to be new each time.
    """
    with ExitStack() as stack:
        sqs = stack.enter_context(fauxqs()).url if "sqs" in contender.servers else ""
        redis = dynamodb = ""
        if "redis" in contender.servers:
            redis = stack.enter_context(redis_server()).url
        if "dynamodb" in contender.servers:
            dynamodb = stack.enter_context(Ministack()).endpoint_url
            create_table(dynamodb)
        yield Servers(sqs, dynamodb, redis, rabbitmq() if "rabbitmq" in contender.servers else "")


def missing(contender: Contender) -> str | None:
    """Why a contender can't be measured on this machine, or None if it can."""
    reasons = {"sqs": fauxqs_missing, "redis": redis_missing, "rabbitmq": SERVERS["rabbitmq"].missing}
    return next((reason for name, why in reasons.items() if name in contender.servers and (reason := why())), None)


def measure(parts: Sequence[str], rounds: int, scale: float, only: str, kept: Path | None) -> Found:
    """Measure every part in each round, and return all values by part, contender and measure.

    A file keeps the values, if there is to be one: a run adds to those of earlier runs.
    """
    found: Found = json.loads(kept.read_text()) if kept and kept.exists() else {}
    for part in parts:
        found.setdefault(part, {})
    turns = [(number, part, each) for number in range(rounds) for part in parts for each in PARTS[part]]
    with ExitStack() as stack:
        rabbitmq = cache(lambda: stack.enter_context(server("rabbitmq")).url)
        for number, part, contender in turns:
            if not contender.name.startswith(only):
                continue
            if reason := missing(contender):
                print(f"left out: {contender.name}: {reason}", flush=True)
                continue
            values = found[part].setdefault(contender.name, {})
            for each in measurements(part, contender, scale, first=number == 0):
                with servers_for(contender, rabbitmq) as servers:
                    for name, value in each(contender, servers).items():
                        values.setdefault(name, []).append(value)
            if kept:
                kept.write_text(json.dumps(found))
            print(f"round {number + 1}: {part}: {contender.name} done", flush=True)
    return found


def main() -> None:
    """Measure, print the tables, and write them into the page if everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"the parts: {', '.join(PARTS)}; by default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="the part of the usual numbers that is measured")
    parser.add_argument("--only", default="", help="measure the contenders whose names begin with this")
    parser.add_argument("--values", type=Path, help="a file that keeps the values; a run adds to it")
    parser.add_argument("--write", action="store_true", help="write the page's tables at any scale")
    given = parser.parse_args()
    if (not given.parts or "sqs" in given.parts) and fauxqs_missing():
        raise SystemExit(fauxqs_missing())
    found = measure(given.parts or list(PARTS), given.rounds, given.scale, given.only, given.values)
    writes = not given.only and (given.write or given.scale >= 1)
    on_servers = {part: values for part, values in found.items() if part == "servers"}
    others = {part: values for part, values in found.items() if part != "servers"}
    if others:
        text = tables(others, given.rounds, int(TASKS * given.scale))
        print(text)
        if writes and others.keys() == set(_PLOTTED):
            reached = goals(others)
            print(reached)
            write_table("measured", text)
            write_table("goals", reached)
            plot(others["sqs"])
    if on_servers:
        text = tables(on_servers, given.rounds, int(TASKS * given.scale))
        reached = server_goals(on_servers["servers"])
        print(text, reached, sep="\n\n")
        if writes:
            write_table("servers", f"{text}\n\n{reached}")


if __name__ == "__main__":
    main()
