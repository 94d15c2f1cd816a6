"""The report at the end: tasks, failures, service calls, dead letters, and where results and logs are."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from demo.infrastructure.interface import Meter, RunningBroker, RunningStore
from demo.monitor import Outcome, Snapshot
from demo.workload import SentCall


def report(console: Console, snapshot: Snapshot, broker: RunningBroker, store: RunningStore, logs: Path) -> None:
    """Print the report.

    Args:
        console: the console to print on.
        snapshot: the last snapshot.
        broker: the broker, whose calls were counted.
        store: the result store, whose calls were counted.
        logs: the folder of the logs.
    """
    console.print(_tasks(snapshot))
    _note(
        console,
        "The attempts include retries. p50 and p95 are the median and the 95th percentile of the time from a call to",
        "its final state.",
    )
    console.print(_failures(snapshot))
    _calls(console, [broker.meter, store.meter], len(snapshot.sent))
    console.print(_dead_letters(snapshot))
    _results(console, snapshot, store, logs)


def _note(console: Console, *lines: str) -> None:
    console.print("".join(f" {line}\n" for line in lines), style="dim", highlight=False)


def _table(title: str, *headings: str) -> Table:
    """Return an empty table. A heading that begins with ``>`` has a column of numbers, aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        is_number = heading.startswith(">")
        table.add_column(heading.removeprefix(">"), justify="right" if is_number else "left", no_wrap=is_number)
    return table


def _tasks(snapshot: Snapshot) -> Table:
    table = _table("Tasks", "task", "worker", ">calls", ">attempts", ">SUCCESS", ">FAILURE", ">p50 s", ">p95 s")
    for task in dict.fromkeys(sent.call.task for sent in snapshot.sent):
        calls = [each for each in snapshot.sent if each.call.task is task]
        done = [(each, snapshot.outcomes[each.id]) for each in calls if snapshot.is_done(each)]
        states = Counter(outcome.state for _, outcome in done)
        table.add_row(
            task.__name__,
            ", ".join(sorted({outcome.worker.partition("@")[0] for _, outcome in done})),
            str(len(calls)),
            str(sum(outcome.attempts for _, outcome in done)),
            str(states["SUCCESS"]),
            str(states["FAILURE"]),
            *_percentiles(done),
        )
    return table


def _percentiles(done: Sequence[tuple[SentCall, Outcome]]) -> tuple[str, str]:
    """Return p50 and p95 of the seconds from the call to the end of its last attempt, delays of retries included."""
    seconds = [outcome.done_at - sent.sent_at for sent, outcome in done if outcome.done_at is not None]
    if len(seconds) < 2:
        return ("", "")
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return f"{cuts[9]:.1f}", f"{cuts[18]:.1f}"


def _failures(snapshot: Snapshot) -> Table:
    table = _table("Failures", "task", "error", "attempts", ">calls")
    kinds = Counter(
        (sent.call.task.__name__, outcome.error or "", str(outcome.attempts))
        for sent in snapshot.sent
        if (outcome := snapshot.outcomes.get(sent.id)) is not None and outcome.state == "FAILURE"
    )
    for kind, calls in kinds.items():
        table.add_row(*kind, str(calls))
    return table


def _calls(console: Console, meters: Sequence[Meter], tasks: int) -> None:
    table = _table("Service calls", "service", ">calls", ">per task", "by operation")
    for meter in meters:
        counted = meter.calls()
        if counted is None:
            continue
        total = sum(counted.values())
        parts = ", ".join(f"{name} {count}" for name, count in sorted(counted.items(), key=lambda each: -each[1]))
        table.add_row(meter.service, str(total), f"{total / tasks:.2f}", parts)
    if table.row_count:
        console.print(table)
    else:
        console.print("Service calls\n", style="bold")
    _note(console, *dict.fromkeys(meter.note for meter in meters if meter.note))


def _dead_letters(snapshot: Snapshot) -> Table:
    table = _table("Dead letters", "queue", "message", "reason")
    for letter in snapshot.dead_letters:
        table.add_row(letter.queue, letter.body, letter.reason or "no reason")
    return table


def _results(console: Console, snapshot: Snapshot, store: RunningStore, logs: Path) -> None:
    lines = [f"Results  {len(snapshot.outcomes)} {store.contents}; for example:"]
    for sent in [sent for sent in snapshot.sent if snapshot.is_done(sent)][:1]:
        outcome = snapshot.outcomes[sent.id]
        lines.append(f"         {store.key_of(sent.id)}")
        lines.append(f"         {outcome.state}, {json.dumps(outcome.result)}")
    lines.append(f"Logs     {', '.join(str(path) for path in sorted(logs.glob('*.log')) if path.stat().st_size)}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
