"""The run of a task that is under way in the calling context, and what it has called so far.

``runner`` sets these variables. Code that may be called by a task reads them; a process that only calls tasks imports
them without the runner.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from itertools import islice
from typing import TYPE_CHECKING, Final

from taskq_cloud.core.records.record import MOST_CHILDREN

if TYPE_CHECKING:
    from taskq_cloud.core.model.message import Embed, Signature
    from taskq_cloud.core.model.outcome import Invocation, Outcome

current_invocation: Final[ContextVar[Invocation | None]] = ContextVar("taskq_current_invocation", default=None)
"""The run of a task that is under way in this context; None outside a task."""

added_to_chord: Final[ContextVar[list[Signature] | None]] = ContextVar("taskq_added_to_chord", default=None)
"""The signatures that the run under way in this context has added to its chord; None outside a task."""

called_within: Final[ContextVar[list[str] | None]] = ContextVar("taskq_called_within", default=None)
"""The ids of the tasks that the run under way in this context has called; None outside a task, and for a task that is
declared with ``trail=False``."""


changed_embed: Final[ContextVar[tuple[Invocation, Embed] | None]] = ContextVar("taskq_changed_embed", default=None)
"""A run, and what follows it in place of what its message says; set by a function that lets its task change that."""


def note_called(task_ids: Iterable[str]) -> None:
    """Note ids of tasks that the run under way has called, up to the number that its record has room for."""
    called = called_within.get()
    if called is not None:
        called.extend(islice(task_ids, MOST_CHILDREN - len(called)))


ended_runs: Final[dict[int, Outcome]] = {}
"""The identity of an invocation -> its outcome, while hooks are called after its function."""
