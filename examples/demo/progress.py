"""Progress while the tasks run: a live table in a terminal, and otherwise a line every few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from demo.monitor import Snapshot

PLAIN_LINE_SECONDS = 3


class Show(Protocol):
    """A function that shows a snapshot."""

    def __call__(self, snapshot: Snapshot) -> None: ...


@contextmanager
def progress(console: Console) -> Iterator[Show]:
    """Return a function that shows snapshots on ``console``, until the context ends."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield lambda snapshot: live.update(table(snapshot))


def table(snapshot: Snapshot) -> Table:
    """Return a table with a row for each task."""
    shown = Table(title=f"{snapshot.seconds:.0f} s", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("task", "", "done", "failed", "waiting for a retry"):
        shown.add_column(heading, justify="left" if heading in ("task", "") else "right", no_wrap=True)
    for task in dict.fromkeys(sent.call.task for sent in snapshot.sent):
        ours = [sent for sent in snapshot.sent if sent.call.task is task]
        states = [snapshot.outcomes[sent.id].state for sent in ours if sent.id in snapshot.outcomes]
        done = sum(snapshot.is_done(sent) for sent in ours)
        bar = ProgressBar(total=len(ours), completed=done, width=20)
        failed, retrying = states.count("FAILURE"), states.count("RETRY")
        shown.add_row(task.__name__, bar, f"{done} of {len(ours)}", str(failed or ""), str(retrying or ""))
    return shown


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __call__(self, snapshot: Snapshot) -> None:
        done = sum(snapshot.is_done(sent) for sent in snapshot.sent)
        if snapshot.seconds < self._next and done < len(snapshot.sent):
            return
        self._next = snapshot.seconds + PLAIN_LINE_SECONDS
        retrying = sum(outcome.state == "RETRY" for outcome in snapshot.outcomes.values())
        waiting = f", {retrying} waiting for a retry" if retrying else ""
        self._console.print(
            f"  {snapshot.seconds:4.1f} s: {done} of {len(snapshot.sent)} calls done{waiting}", highlight=False
        )
