"""What may become of a message, as data: the scenarios that the pipeline's contract plays with a crash at every step.

Every scenario's first task is ``main``; each task that follows has a name of its own. A task's conduct depends on its
message and on how often it was delivered, never on what ran before, so a crash may not change the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from taskq_cloud.core import protocol, result_document, retry
from taskq_cloud.core.invocation import current_invocation
from taskq_cloud.core.message import DEAD_LETTER_REASON, Embed, Message
from taskq_cloud.core.options import Policy, TaskOptions
from taskq_cloud.core.outcome import Invocation, Lost, Outcome, TimedOut
from taskq_cloud.core.records import FAILURE, RETRY, Record, version_of
from taskq_cloud.errors import Ignore, Reject, Retry


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


def _attempt() -> Invocation:
    invocation = current_invocation.get()
    assert invocation is not None
    return invocation


def _fails(*_: Any) -> NoReturn:
    raise ValueError("on purpose")


def _fails_at_first() -> str:
    if _attempt().message.retries < 2:
        raise OSError("not yet")
    return "done"


def _asks_for_other_arguments(value: int = 0) -> int:
    if value < 2:
        raise Retry(when=40, args=(value + 1,))
    return value


def _raises(kind: type[Exception], *args: Any) -> Callable[[], NoReturn]:
    def function() -> NoReturn:
        raise kind(*args)

    return function


def _ends(outcome: Outcome, *, before_receive: int = 10**6) -> Callable[[], str]:
    def function() -> str:
        if _attempt().receive_count < before_receive:
            raise End(outcome)
        return "done"

    return function


def _requeued() -> str:
    if _attempt().receive_count < 3:
        raise Reject("busy", requeue=True)
    return "done"


def _signature(task: str, *args: Any, **options: Any) -> dict[str, Any]:
    return {"task": task, "args": list(args), "kwargs": {}, "options": options}


def _eta(task_id: str, now: float) -> Message:
    return Message(task="main", id=task_id, eta=datetime.fromtimestamp(now + 100, UTC))


def _expired(task_id: str, now: float) -> Message:
    return Message(task="main", id=task_id, expires=datetime.fromtimestamp(now - 1, UTC))


def _failed_before(task_id: str, now: float) -> Record:
    return _recorded(task_id, FAILURE, 0, now)


def _retried_twice_before(task_id: str, now: float) -> Record:
    return _recorded(task_id, RETRY, 1, now)


def _recorded(task_id: str, state: str, attempt: int, now: float) -> Record:
    described = result_document.encode_error(retry.describe(ValueError("before")))
    payload = result_document.encode(Message(task="main", id=task_id), state, described, now=now)
    return Record(task_id, state, version_of(state, attempt), payload)


def _five(*_: Any) -> int:
    return 5


def _first(value: Any = 0, *_: Any) -> Any:
    return value


def _same(value: Any) -> Any:
    return value


def _group(*members: dict[str, Any]) -> dict[str, Any]:
    return {"task": "celery.group", "kwargs": {"tasks": list(members)}}


def _chain(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"task": "celery.chain", "kwargs": {"tasks": list(steps)}}


def _chord(header: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    return {"task": "celery.chord", "kwargs": {"kwargs": {}, "header": _group(*header), "body": body}}


def _of_chord(size: int = 1) -> Callable[[str, float], Message]:
    """A member of a chord, beside others that never come."""

    def make(task_id: str, _now: float) -> Message:
        chord = _signature("body", chord_size=size, chord_ids={"0": task_id}, link_error=[_signature("errback")])
        return Message(task="main", id=task_id, group=f"of {task_id}", group_index=0, embed=Embed(chord=chord))

    return make


DONE = ("SUCCESS", "done")
FIVE = ("SUCCESS", 5)
FAILED = ("FAILURE", "ValueError")
AUTORETRY = TaskOptions(autoretry_for=(OSError,), default_retry_delay=20)
ONCE = TaskOptions(once=True, time_limit=60, autoretry_for=(OSError,), default_retry_delay=20)
ENDING_WELL = ("run", "save:SUCCESS", "settle:Acknowledge")
ENDING_BADLY = ("run", "save:FAILURE", "settle:Acknowledge")
RETRIED = ("run", "save:RETRY", "send:main", "settle:Acknowledge")
ONE_ERRBACK = Embed(errbacks=[_signature("errback")])
FOLLOWED = Embed(
    callbacks=[_signature("callback_a"), _signature("callback_b", 7)],
    errbacks=[_signature("errback")],
    chain=[_signature("last"), _signature("next", link=[_signature("callback_of_next")])],
)
FOLLOWING = dict.fromkeys(("callback_a", "callback_b", "next", "last", "callback_of_next", "errback"), _five)
FOLLOWED_STATES = {name: FIVE for name in FOLLOWING if name != "errback"}
ENDING_A_CHORD = ("join:complete", "claim")
HEADER = [_signature("header_a", 1), _chain(_signature("header_b"), _signature("header_c"))]

SCENARIOS = [
    Scenario(name="succeeds", functions={"main": _five}, states={"main": FIVE}, effects=ENDING_WELL),
    Scenario(
        name="succeeds and is followed",
        functions={"main": _five, **FOLLOWING},
        embed=FOLLOWED,
        states={"main": FIVE, **FOLLOWED_STATES},
        effects=("run", "save:SUCCESS", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="succeeds, and a task that follows does not",
        functions={"main": _five, "next": _fails},
        embed=Embed(chain=[_signature("last"), _signature("next")]),
        states={"main": FIVE, "next": FAILED},
        effects=("run", "save:SUCCESS", "send:next", "settle:Acknowledge"),
    ),
    Scenario(name="fails", functions={"main": _fails}, states={"main": FAILED}, effects=ENDING_BADLY),
    Scenario(
        name="fails with an errback",
        functions={"main": _fails, **FOLLOWING},
        embed=FOLLOWED,
        states={"main": FAILED, "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "save:FAILURE", "settle:Acknowledge"),
    ),
    Scenario(
        name="is retried by itself",
        functions={"main": _fails_at_first, **FOLLOWING},
        embed=FOLLOWED,
        options={"main": AUTORETRY},
        states={"main": DONE, **FOLLOWED_STATES},
        effects=RETRIED,
    ),
    Scenario(
        name="asks for a retry with other arguments",
        functions={"main": _asks_for_other_arguments},
        states={"main": ("SUCCESS", 2)},
        effects=RETRIED,
    ),
    Scenario(
        name="uses its retries up",
        functions={"main": _raises(OSError, "never"), "errback": _five},
        embed=ONE_ERRBACK,
        options={"main": replace(AUTORETRY, max_retries=2)},
        states={"main": ("FAILURE", "OSError"), "errback": FIVE},
        effects=RETRIED,
    ),
    Scenario(
        name="has expired",
        functions={"main": _five, **FOLLOWING},
        embed=FOLLOWED,
        make=_expired,
        states={"main": ("REVOKED", "TaskRevokedError")},
        effects=("save:REVOKED", "save:REVOKED", "settle:Acknowledge"),
    ),
    Scenario(
        name="is not due",
        functions={"main": _five},
        make=_eta,
        states={"main": FIVE},
        effects=("send:main", "settle:Acknowledge"),
    ),
    Scenario(
        name="is unknown",
        functions={},
        states={"main": ("FAILURE", "NotRegistered")},
        effects=("settle:Release",),
        dead_letters=("NotRegistered: no worker of queue .* knew task 'main' after . receives",),
    ),
    Scenario(
        name="can't be read",
        functions={},
        garbage="no message at all",
        states={"main": None},
        effects=("settle:DeadLetter",),
        dead_letters=("DecodeError: the body is neither",),
    ),
    Scenario(
        name="can't be read but for its id",
        functions={"main": _five},
        garbage='{"body": "[[1]]", "headers": {"task": "main", "id": "TASK_ID"}, "properties": {}}',
        states={"main": ("FAILURE", "InvalidTaskError")},
        effects=("save:FAILURE", "settle:DeadLetter"),
        dead_letters=("InvalidTaskError: the body is no",),
    ),
    Scenario(
        name="can't be followed as it says",
        functions={"main": _five},
        embed=Embed(callbacks=[_signature("next", countdown="soon")]),
        states={"main": ("FAILURE", "InvalidTaskError")},
        effects=("save:FAILURE", "settle:DeadLetter"),
        dead_letters=("InvalidTaskError: task main: what follows it can't be read",),
    ),
    Scenario(
        name="belongs to a chord of Celery's",
        functions={"main": _five},
        embed=Embed(chord=_signature("body")),
        states={"main": None},
        effects=("settle:DeadLetter",),
        dead_letters=("chord None was made by Celery and doesn't say its size",),
    ),
    Scenario(
        name="belongs to a chord and is its last member",
        functions={"main": _five, "body": _same},
        make=_of_chord(),
        states={"main": FIVE, "body": ("SUCCESS", [5])},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "send:body", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and is not its last member",
        functions={"main": _five, "body": _same},
        make=_of_chord(2),
        states={"main": FIVE},
        effects=("run", "save:SUCCESS", "join", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord, which it fails",
        functions={"main": _fails, "body": _same, "errback": _five},
        make=_of_chord(),
        states={"main": FAILED, "errback": FIVE},
        effects=("run", "save:FAILURE", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and keeps its result all the same",
        functions={"main": _five, "body": _same},
        make=_of_chord(),
        policy=Policy(ignore_result=True),
        states={"main": FIVE, "body": None},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "send:body", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and is ignored",
        functions={"main": _raises(Ignore), "errback": _five},
        make=_of_chord(),
        states={"main": None, "errback": FIVE},
        effects=("run", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord whose body is too large",
        functions={"main": lambda: "x" * 20_000, "errback": _five},
        make=_of_chord(),
        largest_message_bytes=15_000,
        states={"main": ("SUCCESS", "x" * 20_000), "errback": FIVE},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="is followed by a chord in a chord",
        functions=dict.fromkeys(("main", "header_a", "header_b", "header_c", "inner", "outer", "last"), _first),
        embed=Embed(
            chain=[
                _signature("last"),
                _chord([_chord(HEADER, _signature("inner"))], _signature("outer")),
            ]
        ),
        states={
            "main": ("SUCCESS", 0),
            "header_a": ("SUCCESS", 0),
            "header_b": ("SUCCESS", 0),
            "header_c": ("SUCCESS", 0),
            "inner": ("SUCCESS", [0, 0]),
            "outer": ("SUCCESS", [[0, 0]]),
            "last": ("SUCCESS", [[0, 0]]),
        },
        effects=("run", "save:SUCCESS", "send:header_a,header_b", "settle:Acknowledge"),
    ),
    Scenario(
        name="is followed by a chord that fails in a chain of its header",
        functions={
            **dict.fromkeys(("main", "header_a", "header_c", "inner", "outer", "last"), _first),
            "header_b": _fails,
            "errback": _five,
        },
        embed=Embed(
            chain=[
                _chord([_chord(HEADER, _signature("inner"))], _signature("outer", link_error=[_signature("errback")]))
            ]
        ),
        states={"main": ("SUCCESS", 0), "header_a": ("SUCCESS", 0), "header_b": FAILED, "errback": FIVE},
        effects=("run", "save:SUCCESS", "send:header_a,header_b", "settle:Acknowledge"),
    ),
    Scenario(
        name="is followed by a group whose members are followed by groups",
        functions=dict.fromkeys(("main", "header_a", "header_b", "header_c", "grouped", "last"), _first),
        embed=Embed(
            chain=[
                _chord(
                    [_signature("grouped"), _chain(*HEADER)],
                    _group(_signature("last")),
                )
            ]
        ),
        states={
            **dict.fromkeys(("main", "grouped", "header_a", "header_b", "header_c"), ("SUCCESS", 0)),
            "last": ("SUCCESS", [0, 0]),
        },
        effects=("run", "save:SUCCESS", "send:grouped,header_a", "settle:Acknowledge"),
    ),
    Scenario(
        name="is rejected",
        functions={"main": _raises(Reject, "not mine"), **FOLLOWING},
        embed=FOLLOWED,
        states={"main": ("FAILURE", "Reject")},
        effects=("run", "save:FAILURE", "save:FAILURE", "settle:DeadLetter"),
        dead_letters=("Reject: not mine",),
    ),
    Scenario(
        name="is rejected and given back",
        functions={"main": _requeued},
        states={"main": DONE},
        effects=("run", "settle:Release"),
    ),
    Scenario(
        name="is ignored",
        functions={"main": _raises(Ignore), **FOLLOWING},
        embed=FOLLOWED,
        states={"main": None},
        effects=("run", "settle:Acknowledge"),
    ),
    Scenario(
        name="loses its process at first",
        functions={"main": _ends(Lost("killed by SIGKILL"), before_receive=3)},
        states={"main": DONE},
        effects=("run", "settle:Release"),
    ),
    Scenario(
        name="loses every process",
        functions={"main": _ends(Lost("killed by SIGKILL")), "errback": _five},
        embed=ONE_ERRBACK,
        states={"main": ("FAILURE", "WorkerLostError"), "errback": FIVE},
        effects=("run", "settle:Release"),
    ),
    Scenario(
        name="loses its process and is not to be run again",
        functions={"main": _ends(Lost("exit code 3"))},
        options={"main": TaskOptions(reject_on_worker_lost=False)},
        states={"main": ("FAILURE", "WorkerLostError")},
        effects=ENDING_BADLY,
    ),
    Scenario(
        name="takes too long",
        functions={"main": _ends(TimedOut(3)), "errback": _five},
        embed=ONE_ERRBACK,
        states={"main": ("FAILURE", "TimeLimitExceeded"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="runs once",
        functions={"main": _five},
        options={"main": ONCE},
        states={"main": FIVE},
        effects=("claim", *ENDING_WELL),
    ),
    Scenario(
        name="runs once, is retried and followed",
        functions={"main": _fails_at_first, **FOLLOWING},
        embed=FOLLOWED,
        options={"main": ONCE},
        states={"main": DONE, **FOLLOWED_STATES},
        effects=("claim", "run", "save:RETRY", "give up claim", "send:main", "settle:Acknowledge"),
    ),
    Scenario(
        name="runs once and loses its process",
        functions={"main": _ends(Lost("killed by SIGKILL"), before_receive=2)},
        options={"main": ONCE},
        states={"main": DONE},
        effects=("claim", "run", "give up claim", "settle:Release"),
    ),
    Scenario(
        name="keeps no result",
        functions={"main": _five, **FOLLOWING},
        embed=FOLLOWED,
        options={"main": TaskOptions(ignore_result=True)},
        states={"main": None, **FOLLOWED_STATES},
        effects=("run", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="keeps no result but a failure",
        functions={"main": _fails},
        policy=Policy(ignore_result=True, store_errors_even_if_ignored=True),
        states={"main": FAILED},
        effects=ENDING_BADLY,
    ),
    Scenario(
        name="says that it has started",
        functions={"main": _fails_at_first},
        options={"main": replace(AUTORETRY, track_started=True)},
        states={"main": DONE},
        effects=("save:STARTED", *RETRIED),
    ),
    Scenario(
        name="is redriven and succeeds",
        functions={"main": _five, **FOLLOWING},
        embed=FOLLOWED,
        attributes={DEAD_LETTER_REASON: "ValueError: before"},
        stored=_failed_before,
        states={"main": FIVE, **FOLLOWED_STATES},
        effects=("delete", "run", "save:SUCCESS", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="is redriven, retried and fails again",
        functions={"main": _raises(OSError, "never"), "errback": _five},
        embed=ONE_ERRBACK,
        options={"main": replace(AUTORETRY, max_retries=1)},
        attributes={DEAD_LETTER_REASON: "ValueError: before"},
        stored=_failed_before,
        states={"main": ("FAILURE", "OSError"), "errback": FIVE},
        effects=("delete", *RETRIED),
    ),
    Scenario(
        name="was done already",
        functions={"main": _five, "errback": _five},
        embed=ONE_ERRBACK,
        options={"main": TaskOptions(once=True, time_limit=60)},
        stored=_failed_before,
        states={"main": FAILED, "errback": FIVE},
        effects=("send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="was overtaken by a later attempt",
        functions={"main": _five},
        options={"main": ONCE},
        stored=_retried_twice_before,
        states={"main": ("RETRY", "ValueError")},
        effects=("settle:Acknowledge",),
    ),
    Scenario(
        name="has too large a result",
        functions={"main": lambda: "x" * 20_000, "errback": _five},
        embed=ONE_ERRBACK,
        largest_record_bytes=15_000,
        states={"main": ("FAILURE", "PayloadTooLarge"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="has too large an error",
        functions={"main": _raises(ValueError, "x" * 20_000), "errback": _five},
        embed=ONE_ERRBACK,
        largest_record_bytes=15_000,
        states={"main": FAILED, "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="has too large a value for what follows",
        functions={"main": lambda: "x" * 20_000, "next": _five, "errback": _five},
        embed=Embed(errbacks=[_signature("errback")], chain=[_signature("next")]),
        largest_message_bytes=15_000,
        states={"main": ("FAILURE", "PayloadTooLarge"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "save:FAILURE", "settle:Acknowledge"),
    ),
    Scenario(
        name="waits for a silent store",
        functions={"main": _five},
        policy=Policy(patience_seconds=20),
        silent_saves=3,
        states={"main": FIVE},
        effects=ENDING_WELL,
    ),
    Scenario(
        name="loses its patience with a silent store",
        functions={"main": _five},
        policy=Policy(patience_seconds=1),
        silent_saves=3,
        states={"main": FIVE},
        effects=("run", "settle:Release"),
    ),
]
