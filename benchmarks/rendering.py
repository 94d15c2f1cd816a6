"""The tables and the plot of what was measured."""

from __future__ import annotations

import statistics
from importlib.metadata import version
from typing import TypeAlias

from common import ROOT, conditions
from contenders import EMBEDDED, ON_SERVERS, ON_SQS, RESULTS, ROUND_TRIPS

Values: TypeAlias = dict[str, dict[str, list[float]]]
"""By contender and measure, one value of each round."""
Found: TypeAlias = dict[str, Values]
"""The values of each part."""

TITLES = {
    "sqs": "On SQS",
    "results": "On SQS, with results in DynamoDB (ministack)",
    "embedded": "Embedded",
    "trips": "Round trips of `delay().get()`, on an idle queue",
    "servers": "Calls one by one, and round trips of `delay().get()`",
}
COLOURS = ("#2f7ebc", "#e07b39")
"""Of producers and workers: legible on white and on black."""
GREY = "#808890"


def tables(found: Found, rounds: int, tasks: int) -> str:
    """Return a table of each part."""
    known = {each.name: each for each in (*ON_SQS, *RESULTS, *EMBEDDED, *ROUND_TRIPS, *ON_SERVERS)}
    packages = sorted({known[name].package for values in found.values() for name in values})
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    blocks = [f"{conditions(rounds)} {tasks:,} no-op tasks each after a tenth of that to warm up. {versions}."]
    for part, values in found.items():
        blocks.extend([f"### {TITLES[part]}", *_blocks(values)])
    return "\n\n".join(blocks)


def _blocks(values: Values) -> list[str]:
    """Return one table, or two if it would have more than six columns of numbers."""
    measures: list[str] = []
    for of_contender in values.values():
        measures.extend(name for name in of_contender if name not in measures)
    return [_table(values, measures[begin : begin + 6]) for begin in range(0, len(measures), 6)]


def _table(values: Values, measures: list[str]) -> str:
    lines = ["| | " + " | ".join(measures) + " |", "|---|" + "---:|" * len(measures)]
    for name, found in values.items():
        lines.append(f"| {name} | " + " | ".join(_cell(found.get(measure), measure) for measure in measures) + " |")
    return "\n".join(lines)


def _cell(found: list[float] | None, measure: str) -> str:
    """Return the median, and the range if the rounds differ by more than a third."""
    if not found:
        return ""
    digits = next((digits for word, digits in (("CPU s", 3), ("ms", 1), ("DynamoDB", 2)) if word in measure), 0)
    low, middle, high = min(found), statistics.median(found), max(found)
    spread = f" ({low:,.{digits}f} to {high:,.{digits}f})" if high > low * 4 / 3 else ""
    return f"{middle:,.{digits}f}{spread}"


def goals(found: Found) -> str:
    """Return the table of the goals beside what was reached, all of one run."""
    lines = ["| | goal | reached |", "|---|---:|---:|"]
    lines.extend(f"| {what} | {goal} | {reached} |" for what, goal, reached in (*_of_cpu(found), *_of_times(found)))
    return "\n".join(lines)


def _median(values: Values, name: str, measure: str) -> float:
    return statistics.median(values[name][measure]) if name in values else float("nan")


def _both(values: Values, name: str) -> float:
    """The CPU seconds of producer and worker."""
    return sum(_median(values, name, f"{side}, CPU s per 1,000") for side in ("producer", "worker"))


def _of_cpu(found: Found) -> list[tuple[str, str, str]]:
    sqs, results, embedded = found["sqs"], found["results"], found["embedded"]
    own = _both(sqs, "taskq_cloud, asyncio")
    rows = [
        (f"CPU on SQS, producer and worker, beside {rival}", f"1/{goal}", f"1/{_both(sqs, rival) / own:.1f}")
        for rival, goal in (("Celery, threads", 10), ("taskiq-aio-sqs, batches", 4), ("dramatiq-sqs", 9))
    ]
    sent = "producer, CPU s per 1,000"
    lone = _median(sqs, "Celery, threads", sent) / _median(sqs, "taskq_cloud, asyncio, `delay`", sent)
    rows.append(("CPU on SQS, `delay` one by one, beside Celery", "1/3", f"1/{lone:.1f}"))
    for many in (10, 50):
        name, plain = f"taskq_cloud, DynamoDB, {many} at a time", f"taskq_cloud, no results, {many} at a time"
        stored = _median(results, name, "requests to DynamoDB a task")
        rows.append((f"requests to DynamoDB a task, {many} at a time", "0.1", f"{stored:.2f}"))
        times = _both(results, name) / _both(results, plain)
        rows.append((f"CPU with results in DynamoDB, {many} at a time", "1.5 times", f"{times:.1f} times"))
    ran = "worker, CPU s per 1,000"
    for pool, goal in (("asyncio", "0.06"), ("solo", "0.06"), ("processes", "0.15")):
        name = f"taskq_cloud, SQLite, {pool}"
        rows.append((f"embedded, {pool}, worker's CPU s per 1,000", goal, f"{_median(embedded, name, ran):.3f}"))
        times = _median(embedded, f"{name}, results", ran) / _median(embedded, name, ran)
        rows.append((f"embedded, {pool}, worker's CPU with results", "2 times", f"{times:.1f} times"))
    return rows


def server_goals(values: Values) -> str:
    """Return the table of the goals on Redis and RabbitMQ beside what was reached.

    Each number is the median of the rounds' ratios, as a machine's speed drifts from one round to the next.
    """
    lines = ["| | beside | producer's CPU | worker's CPU | round trip, p50 |", "|---|---|---:|---:|---:|"]
    lines.append("| goal | | 0.33 | 0.33 | 1.00 |")
    pairs = [(own, rival) for own in values for rival in _rivals(own) if rival in values]
    for name, rival in pairs:
        ratios = [_ratio(values[name].get(each, []), values[rival].get(each, [])) for each in _COMPARED]
        lines.append(f"| {name} | {rival} | {' | '.join(ratios)} |")
    return "\n".join(lines)


_COMPARED = ("producer, CPU s per 1,000", "worker, CPU s per 1,000", "p50, ms")


def _rivals(name: str) -> list[str]:
    """The names of Celery's measurements that one of taskq_cloud is compared with."""
    if not name.startswith("taskq_cloud, "):
        return []
    rival = name.replace("taskq_cloud", "Celery").replace("processes", "prefork")
    rival = rival.replace(" in Celery's layout", "").replace(" without confirms", "")
    # Ours waits for confirms unless it is told not to, Celery only if it is told to.
    waits = "RabbitMQ" in name and "without" not in name
    return [rival, rival.replace("RabbitMQ", "RabbitMQ with confirms")] if waits else [rival]


def _ratio(ours: list[float], theirs: list[float]) -> str:
    ratios = [own / rival for own, rival in zip(ours, theirs, strict=False)]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def _of_times(found: Found) -> list[tuple[str, str, str]]:
    trips, sqs = found["trips"], found["sqs"]

    def both(name: str) -> str:
        return " / ".join(f"{_median(trips, name, measure):.1f}" for measure in ("p50, ms", "p99, ms"))

    call, rss, other = "first call, CPU s", "at rest, RSS, MB", "at rest, other requests a minute"
    own, celery = "taskq_cloud, asyncio", "Celery, threads"
    return [
        ("round trip in memory, p50 / p99, ms", "0.5 / 2", both("taskq_cloud, memory")),
        ("round trip on SQLite, p50 / p99, ms", "1.5 / 5", both("taskq_cloud, SQLite")),
        (
            "round trip on SQS and DynamoDB, p50 / p99, ms; the goal is Celery's on SQS and Redis",
            both("Celery, SQS, Redis"),
            both("taskq_cloud, SQS, DynamoDB"),
        ),
        ("first call, CPU, beside Celery", "1/4", f"1/{_median(sqs, celery, call) / _median(sqs, own, call):.1f}"),
        ("worker at rest, RSS, MB", "60", f"{_median(sqs, own, rss):.0f}"),
        ("worker at rest, requests beside its long polls", "0", f"{_median(sqs, own, other):.0f}"),
    ]


def plot(values: Values) -> None:
    """Draw the CPU seconds on SQS, producer and worker stacked, as docs/benchmark.svg."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "taskq", "svg.fonttype": "none", "font.size": 10, "text.color": GREY})
    from matplotlib import pyplot as plt

    names = list(reversed(values))
    figure, axes = plt.subplots(figsize=(8, 0.36 * len(names) + 1.1))
    begun = [0.0] * len(names)
    for side, colour in zip(("producer", "worker"), COLOURS, strict=True):
        widths = [statistics.median(values[name][f"{side}, CPU s per 1,000"]) for name in names]
        axes.barh(names, widths, left=begun, color=colour, label=side, height=0.7)
        begun = [before + width for before, width in zip(begun, widths, strict=True)]
    for place, total in enumerate(begun):
        axes.text(total, place, f" {total:.2f}", va="center", color=GREY)
    axes.set_xlabel("CPU seconds per 1,000 no-op tasks on SQS", color=GREY)
    axes.tick_params(colors=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.legend(frameon=False, labelcolor=GREY, loc="lower right" if begun[0] < max(begun) / 2 else "upper right")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "benchmark.svg", transparent=True, metadata={"Date": None})
