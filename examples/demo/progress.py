"""Progress while the tasks run: a table that changes in place; where the output is no terminal, a line now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from demo.watching import View

PLAIN_LINE_SECONDS = 3


class Show(Protocol):
    """Shows a view."""

    def __call__(self, view: View) -> None: ...


@contextmanager
def progress(console: Console) -> Iterator[Show]:
    """What shows views on ``console``."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield lambda view: live.update(table(view))


def table(view: View) -> Table:
    """One line for each task."""
    shown = Table(title=f"{view.seconds:.0f} s", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("task", "", "done", "failed", "to retry"):
        shown.add_column(heading, justify="left" if heading in ("task", "") else "right", no_wrap=True)
    for task in dict.fromkeys(sent.call.task for sent in view.sent):
        ours = [sent for sent in view.sent if sent.call.task is task]
        states = [view.outcomes[sent.id].state for sent in ours if sent.id in view.outcomes]
        done = sum(view.is_done(sent) for sent in ours)
        bar = ProgressBar(total=len(ours), completed=done, width=20)
        failed, retrying = states.count("FAILURE"), states.count("RETRY")
        shown.add_row(task.__name__, bar, f"{done} of {len(ours)}", str(failed or ""), str(retrying or ""))
    return shown


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __call__(self, view: View) -> None:
        done = sum(view.is_done(sent) for sent in view.sent)
        if view.seconds < self._next and done < len(view.sent):
            return
        self._next = view.seconds + PLAIN_LINE_SECONDS
        retrying = sum(outcome.state == "RETRY" for outcome in view.outcomes.values())
        waiting = f", {retrying} to be retried" if retrying else ""
        self._console.print(f"  {view.seconds:4.1f} s: {done} of {len(view.sent)} done{waiting}", highlight=False)
