"""The report at the end: what ran where, how often, how long it took, what it cost in calls, and where all of it is."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from demo.infrastructure.places import BrokerPlace, Meter, StorePlace
from demo.watching import Outcome, View
from demo.workload import SentCall


def report(console: Console, view: View, broker: BrokerPlace, store: StorePlace, logs: Path) -> None:
    """Print it.

    Args:
        console: where to.
        view: how things stood at the end.
        broker: where the queues are.
        store: where the results are.
        logs: where the logs are.
    """
    console.print(_tasks(view))
    _note(console, "attempts: retries included; p50, p95: from the call to its final state")
    console.print(_failures(view))
    _calls(console, [broker.meter, store.meter], len(view.sent))
    console.print(_dead_letters(view))
    _results(console, view, store, logs)


def _note(console: Console, *lines: str) -> None:
    console.print("".join(f" {line}\n" for line in lines), style="dim", highlight=False)


def _table(title: str, *headings: str) -> Table:
    """A table whose headings say their alignment: ``">calls"`` is a column of numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        is_number = heading.startswith(">")
        made.add_column(heading.removeprefix(">"), justify="right" if is_number else "left", no_wrap=is_number)
    return made


def _tasks(view: View) -> Table:
    shown = _table("What ran where", "task", "on", ">calls", ">attempts", ">SUCCESS", ">FAILURE", ">p50 s", ">p95 s")
    for task in dict.fromkeys(sent.call.task for sent in view.sent):
        ours = [(each, view.outcomes[each.id]) for each in view.sent if each.call.task is task and view.is_done(each)]
        states = Counter(outcome.state for _, outcome in ours)
        shown.add_row(
            task.__name__,
            ", ".join(sorted({outcome.worker.partition("@")[0] for _, outcome in ours})),
            str(sum(each.call.task is task for each in view.sent)),
            str(sum(outcome.attempts for _, outcome in ours)),
            str(states["SUCCESS"]),
            str(states["FAILURE"]),
            *_percentiles(ours),
        )
    return shown


def _percentiles(done: Sequence[tuple[SentCall, Outcome]]) -> tuple[str, str]:
    """From the call to the end of the last attempt, the waits before retries included."""
    seconds = [outcome.done_at - sent.sent_at for sent, outcome in done if outcome.done_at is not None]
    if len(seconds) < 2:
        return ("", "")
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return f"{cuts[9]:.1f}", f"{cuts[18]:.1f}"


def _failures(view: View) -> Table:
    shown = _table("How tasks failed", "task", "error", "attempts", ">times")
    kinds = Counter(
        (sent.call.task.__name__, outcome.error or "", str(outcome.attempts))
        for sent in view.sent
        if (outcome := view.outcomes.get(sent.id)) is not None and outcome.state == "FAILURE"
    )
    for kind, times in kinds.items():
        shown.add_row(*kind, str(times))
    return shown


def _calls(console: Console, meters: Sequence[Meter], tasks: int) -> None:
    shown = _table("Service calls", "service", ">calls", ">a task", "of these")
    for meter in meters:
        counted = meter.calls()
        if counted is None:
            continue
        total = sum(counted.values())
        parts = ", ".join(f"{name} {count}" for name, count in sorted(counted.items(), key=lambda each: -each[1]))
        shown.add_row(meter.service, str(total), f"{total / tasks:.2f}", parts)
    if shown.row_count:
        console.print(shown)
    _note(console, *dict.fromkeys(meter.note for meter in meters if meter.note))


def _dead_letters(view: View) -> Table:
    shown = _table("Dead letters", "queue", "message", "reason")
    for letter in view.dead_letters:
        shown.add_row(letter.queue, letter.body, letter.reason or "none given")
    return shown


def _results(console: Console, view: View, store: StorePlace, logs: Path) -> None:
    lines = [f"Results  {len(view.outcomes)} {store.things}, for example"]
    for sent in [sent for sent in view.sent if view.is_done(sent)][:1]:
        outcome = view.outcomes[sent.id]
        lines.append(f"         {store.key_of(sent.id)}")
        lines.append(f"         {outcome.state}, {json.dumps(outcome.result)}")
    lines.append(f"Logs     {', '.join(str(path) for path in sorted(logs.glob('*.log')) if path.stat().st_size)}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
