"""What a scenario of the pipeline's contract is, and how the tasks in it behave.

Every scenario's first task is ``main``; each task that follows has a name of its own. A task's conduct depends on its
message and on how often it was delivered, never on what ran before, so a crash may not change the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from taskq_cloud.core.execution.runner import current_invocation
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.records.record import Record


class End(BaseException):
    """Raised by a task's function: what the pool says of a run that did not end by itself."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A message, the tasks it leads to, and what has to come of it.

    Args:
        name: what happens.
        functions: the registered tasks.
        states: task's name -> its state and its value or kind of error in the end; None where nothing is stored.
        effects: what the first delivery does, in its order, if nothing goes wrong.
        make: (id, now) -> the message.
        garbage: a body instead of a message.
        embed: what follows the message.
        options: of the tasks.
        default_options: of those that have none.
        policy: the settings.
        dead_letters: patterns of the reasons in the dead-letter queue.
        attributes: of the message.
        stored: (id, now) -> a record that is there before.
        largest_record_bytes: the store's limit.
        largest_message_bytes: the broker's limit.
        silent_saves: so many first writes get no answer.
    """

    name: str
    functions: Mapping[str, Callable[..., Any]]
    states: Mapping[str, Any]
    effects: tuple[str, ...]
    make: Callable[[str, float], Message] = lambda task_id, _now: Message(task="main", id=task_id)
    garbage: str | None = None
    embed: Embed = field(default_factory=Embed)
    options: Mapping[str, TaskOptions] = field(default_factory=dict)
    default_options: TaskOptions = field(default_factory=TaskOptions)
    policy: Policy = field(default_factory=Policy)
    dead_letters: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    stored: Callable[[str, float], Record] | None = None
    largest_record_bytes: int | None = None
    largest_message_bytes: int | None = None
    silent_saves: int = 0

    def body(self, task_id: str, now: float, queue: str) -> str:
        """The message's body."""
        if self.garbage is not None:
            return self.garbage.replace("TASK_ID", task_id)
        message = self.make(task_id, now)
        return protocol.encode(message if message.embed != Embed() else replace(message, embed=self.embed), queue)


def attempt() -> Invocation:
    """The run that a task's function is in."""
    invocation = current_invocation.get()
    assert invocation is not None
    return invocation


def fails(*_: Any) -> NoReturn:
    """Always."""
    raise ValueError("on purpose")


def raises(kind: type[Exception], *args: Any) -> Callable[[], NoReturn]:
    """A task's function that raises an exception."""

    def function() -> NoReturn:
        raise kind(*args)

    return function


def five(*_: Any) -> int:
    """Always 5."""
    return 5


def signature(task: str, *args: Any, **options: Any) -> dict[str, Any]:
    """A task's signature."""
    return {"task": task, "args": list(args), "kwargs": {}, "options": options}


def told(_task_id: str) -> int:
    """An errback that is sent, as it takes the failed task's id and no more."""
    return 5


FIVE = ("SUCCESS", 5)
FAILED = ("FAILURE", "ValueError")
