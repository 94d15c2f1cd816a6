"""Measure taskq_cloud beside other task queues, and write the tables and the plot of docs/benchmarks.md.

Counts (requests, bytes, modules) are exact and repeat. Times depend on the machine, and mean something only in
comparison. Because a machine's speed drifts, rounds alternate between the contenders and the tables show medians.

    python benchmarks/run.py [sqs] [results] [embedded] [trips] [--rounds 3] [--scale 0.01] [--only taskq_cloud]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common import create_table, write_table
from contenders import EMBEDDED, ON_SQS, RESULTS, ROUND_TRIPS, Contender
from measuring import Servers, at_rest, drain, first_call, requests, round_trips
from rendering import Found, goals, plot, tables

from emulators.aws import Ministack
from emulators.speed import fauxqs, fauxqs_missing, redis_missing, redis_server

TASKS = 5_000
COUNTED_TASKS = 1_000
TRIPS = 300
REST_SECONDS = 25.0
"""Longer than a long poll."""

PARTS = {"sqs": ON_SQS, "results": RESULTS, "embedded": EMBEDDED, "trips": ROUND_TRIPS}


def measurements(part: str, scale: float, *, first: bool) -> Iterator[Callable[[Contender, Servers], dict[str, float]]]:
    """Yield what a round measures of each contender. What repeats exactly is measured in the first round only."""
    if part == "trips":
        yield lambda contender, servers: round_trips(contender, servers, max(10, int(TRIPS * scale)))
        return
    yield lambda contender, servers: drain(contender, servers, int(TASKS * scale))
    if first and part in ("sqs", "results"):
        yield lambda contender, servers: requests(contender, servers, int(COUNTED_TASKS * scale))
    if part == "sqs":
        yield first_call
        if first:
            yield lambda contender, servers: at_rest(contender, servers, REST_SECONDS * scale)


@contextmanager
def servers_for(contender: Contender) -> Iterator[Servers]:
    """Start the servers that a contender needs. They are new, as what one run leaves must not slow the next."""
    with ExitStack() as stack:
        sqs = stack.enter_context(fauxqs()).url
        redis = dynamodb = ""
        if "redis" in (contender.broker, contender.results):
            redis = stack.enter_context(redis_server()).url
        if contender.results == "dynamodb":
            dynamodb = stack.enter_context(Ministack()).endpoint_url
            create_table(dynamodb)
        yield Servers(sqs, dynamodb, redis)


def measure(parts: Sequence[str], rounds: int, scale: float, only: str, kept: Path | None) -> Found:
    """Measure every part in each round, and return all values by part, contender and measure.

    A file keeps the values, if there is to be one: a run adds to those of earlier runs.
    """
    found: Found = json.loads(kept.read_text()) if kept and kept.exists() else {}
    for part in parts:
        found.setdefault(part, {})
    for number in range(rounds):
        for part in parts:
            for contender in PARTS[part]:
                if not contender.name.startswith(only):
                    continue
                if "redis" in (contender.broker, contender.results) and redis_missing():
                    print(f"left out: {contender.name}: {redis_missing()}", flush=True)
                    continue
                values = found[part].setdefault(contender.name, {})
                for each in measurements(part, scale, first=number == 0):
                    with servers_for(contender) as servers:
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
    given = parser.parse_args()
    if fauxqs_missing():
        raise SystemExit(fauxqs_missing())
    found = measure(given.parts or list(PARTS), given.rounds, given.scale, given.only, given.values)
    text = tables(found, given.rounds, int(TASKS * given.scale))
    print(text)
    if found.keys() != PARTS.keys() or given.only or given.scale < 1:
        return
    reached = goals(found)
    print(reached)
    write_table("measured", text)
    write_table("goals", reached)
    plot(found["sqs"])


if __name__ == "__main__":
    main()
