"""The scenarios of the pipeline's contract: the parts of a scenario, and the tasks that many scenarios share.

The first task of every scenario is ``main``, and each further task has its own name. The run of a task depends on its
message and on the number of its deliveries, and never on earlier runs. So a crash must not change the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.records.record import Record


class End(BaseException):
    """Raised by a task's function to give its run an outcome that a pool would report, such as a lost process."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A message, the tasks that it leads to, and the expected end.

    Args:
        name: what happens to the task, as the end of a sentence that begins with "the task".
        functions: task name -> function of the registered tasks.
        states: task name -> its state in the end, and its value or the type of its error; None: no record is stored.
        effects: the effects of the first delivery, in order, if nothing goes wrong.
        make: (id, seconds since the epoch) -> the message.
        garbage: a body that is sent instead of a message.
        embed: the callbacks, errbacks, chain and chord of the message.
        options: task name -> the options of the task.
        default_options: the options of the other tasks.
        policy: the settings that hold for all tasks.
        dead_letters: patterns of the reasons in the dead-letter queue; every pattern and every reason has a match.
        worn_out: the states if a crash uses up the last receive, so that the message is dead-lettered instead; None:
            no receives are to run out.
        attributes: the attributes of the message.
        stored: (id, seconds since the epoch) -> a record that is stored before the message is sent.
        largest_record_bytes: the limit of the store; None: the store's own.
        largest_message_bytes: the limit of the broker; None: the broker's own.
        silent_saves: the number of first writes to the store that get no answer.
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
    worn_out: Mapping[str, Any] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    stored: Callable[[str, float], Record] | None = None
    largest_record_bytes: int | None = None
    largest_message_bytes: int | None = None
    silent_saves: int = 0

    def body(self, task_id: str, now: float, queue: str) -> str:
        """The body of the message."""
        if self.garbage is not None:
            return self.garbage.replace("TASK_ID", task_id)
        message = self.make(task_id, now)
        return protocol.encode(message if message.embed != Embed() else replace(message, embed=self.embed), queue)


def attempt() -> Invocation:
    """The run under way, for a task's function."""
    invocation = current_invocation.get()
    assert invocation is not None
    return invocation


def fails(*_: Any) -> NoReturn:
    """Fail always."""
    raise ValueError("on purpose")


def raises(kind: type[Exception], *args: Any) -> Callable[[], NoReturn]:
    """Make a task's function that raises an exception."""

    def function() -> NoReturn:
        raise kind(*args)

    return function


def five(*_: Any) -> int:
    """Return 5 always."""
    return 5


def signature(task: str, *args: Any, **options: Any) -> dict[str, Any]:
    """Make the signature of a task."""
    return {"task": task, "args": list(args), "kwargs": {}, "options": options}


def told(_task_id: str) -> int:
    """An errback that is sent as a task: it takes the id of the failed task and nothing else."""
    return 5


def fails_at_first() -> str:
    if attempt().message.retries < 2:
        raise OSError("not yet")
    return "done"


def ends(outcome: Outcome, *, before_receive: int = 10**6) -> Callable[[], str]:
    def function() -> str:
        if attempt().receive_count < before_receive:
            raise End(outcome)
        return "done"

    return function


FIVE = ("SUCCESS", 5)
FAILED = ("FAILURE", "ValueError")
DONE = ("SUCCESS", "done")
AUTORETRY = TaskOptions(autoretry_for=(OSError,), default_retry_delay=20)
ENDING_WELL = ("run", "save:SUCCESS", "settle:Acknowledge")
ENDING_BADLY = ("run", "save:FAILURE", "settle:Acknowledge")
RETRIED = ("run", "save:RETRY", "send:main", "settle:Acknowledge")
ONE_ERRBACK = Embed(errbacks=[signature("errback")])
FOLLOWED = Embed(
    callbacks=[signature("callback_a"), signature("callback_b", 7)],
    errbacks=[signature("errback")],
    chain=[signature("last"), signature("next", link=[signature("callback_of_next")])],
)
FOLLOWING = dict.fromkeys(("callback_a", "callback_b", "next", "last", "callback_of_next"), five) | {"errback": told}
FOLLOWED_STATES = {name: FIVE for name in FOLLOWING if name != "errback"}
