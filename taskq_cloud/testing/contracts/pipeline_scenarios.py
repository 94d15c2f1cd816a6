"""What may become of a message: the scenarios that the pipeline's contract plays with a crash at every step.

Every scenario's first task is ``main``; each task that follows has a name of its own. A task's conduct depends on its
message and on how often it was delivered, never on what ran before, so a crash may not change the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Embed, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Lost, Outcome, TimedOut
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, RETRY, Record, version_of
from taskq_cloud.errors import Ignore, Reject, Retry
from taskq_cloud.testing.contracts.pipeline_fan_out import FAN_OUTS
from taskq_cloud.testing.contracts.pipeline_scenario import (
    FAILED,
    FIVE,
    End,
    Scenario,
    attempt,
    fails,
    five,
    raises,
    signature,
    told,
)
from taskq_cloud.testing.contracts.pipeline_workflows import WORKFLOWS


def _fails_at_first() -> str:
    if attempt().message.retries < 2:
        raise OSError("not yet")
    return "done"


def _called(_request: object, exc: Exception, _traceback: str) -> str:
    return repr(exc)


def _asks_for_other_arguments(value: int = 0) -> int:
    if value < 2:
        raise Retry(when=40, args=(value + 1,))
    return value


def _ends(outcome: Outcome, *, before_receive: int = 10**6) -> Callable[[], str]:
    def function() -> str:
        if attempt().receive_count < before_receive:
            raise End(outcome)
        return "done"

    return function


def _requeued() -> str:
    if attempt().receive_count < 3:
        raise Reject("busy", requeue=True)
    return "done"


def _eta(task_id: str, now: float) -> Message:
    return Message(task="main", id=task_id, eta=datetime.fromtimestamp(now + 100, UTC))


def _expired(task_id: str, now: float) -> Message:
    return Message(task="main", id=task_id, expires=datetime.fromtimestamp(now - 1, UTC))


def _failed_before(task_id: str, now: float) -> Record:
    return _recorded(task_id, FAILURE, 0, now)


def _retried_twice_before(task_id: str, now: float) -> Record:
    return _recorded(task_id, RETRY, 1, now)


def _recorded(task_id: str, state: str, attempt: int, now: float) -> Record:
    described = document.encode_error(ErrorInfo.of(ValueError("before")))
    payload = document.encode(Message(task="main", id=task_id), state, described, now=now)
    return Record(task_id, state, version_of(state, attempt), payload)


DONE = ("SUCCESS", "done")
AUTORETRY = TaskOptions(autoretry_for=(OSError,), default_retry_delay=20)
ONCE = TaskOptions(once=True, time_limit=60, autoretry_for=(OSError,), default_retry_delay=20)
RATED = TaskOptions(rate_limit="1/m", autoretry_for=(OSError,), default_retry_delay=20)
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

SCENARIOS = [
    Scenario(name="succeeds", functions={"main": five}, states={"main": FIVE}, effects=ENDING_WELL),
    Scenario(
        name="succeeds and is followed",
        functions={"main": five, **FOLLOWING},
        embed=FOLLOWED,
        states={"main": FIVE, **FOLLOWED_STATES},
        effects=("run", "save:SUCCESS", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="succeeds, and a task that follows does not",
        functions={"main": five, "next": fails},
        embed=Embed(chain=[signature("last"), signature("next")]),
        states={"main": FIVE, "next": FAILED},
        effects=("run", "save:SUCCESS", "send:next", "settle:Acknowledge"),
    ),
    Scenario(name="fails", functions={"main": fails}, states={"main": FAILED}, effects=ENDING_BADLY),
    Scenario(
        name="fails with an errback that is called",
        embed=ONE_ERRBACK,
        functions={"main": fails, "errback": _called},
        states={"main": FAILED},
        effects=("run", "save:FAILURE", "run", "save:SUCCESS", "settle:Acknowledge"),
    ),
    Scenario(
        name="fails with an errback",
        functions={"main": fails, **FOLLOWING},
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
        functions={"main": raises(OSError, "never"), "errback": told},
        embed=ONE_ERRBACK,
        options={"main": replace(AUTORETRY, max_retries=2)},
        states={"main": ("FAILURE", "OSError"), "errback": FIVE},
        effects=RETRIED,
    ),
    Scenario(
        name="has expired",
        functions={"main": five, **FOLLOWING},
        embed=FOLLOWED,
        make=_expired,
        states={"main": ("REVOKED", "TaskRevokedError")},
        effects=("save:REVOKED", "save:REVOKED", "settle:Acknowledge"),
    ),
    Scenario(
        name="is not due",
        functions={"main": five},
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
        functions={"main": five},
        garbage='{"body": "[[1]]", "headers": {"task": "main", "id": "TASK_ID"}, "properties": {}}',
        states={"main": ("FAILURE", "InvalidTaskError")},
        effects=("save:FAILURE", "settle:DeadLetter"),
        dead_letters=("InvalidTaskError: the body isn't",),
    ),
    Scenario(
        name="can't be followed as it says",
        functions={"main": five},
        embed=Embed(callbacks=[signature("next", countdown="soon")]),
        states={"main": ("FAILURE", "InvalidTaskError")},
        effects=("save:FAILURE", "settle:DeadLetter"),
        dead_letters=("InvalidTaskError: task main: what follows it can't be read",),
    ),
    Scenario(
        name="is rejected",
        functions={"main": raises(Reject, "not mine"), **FOLLOWING},
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
        functions={"main": raises(Ignore), **FOLLOWING},
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
        functions={"main": _ends(Lost("killed by SIGKILL")), "errback": told},
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
        functions={"main": _ends(TimedOut(3)), "errback": told},
        embed=ONE_ERRBACK,
        states={"main": ("FAILURE", "TimeLimitExceeded"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="runs once",
        functions={"main": five},
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
        name="begins within its rate",
        functions={"main": five},
        options={"main": RATED},
        states={"main": FIVE},
        effects=("reserve", *ENDING_WELL),
    ),
    Scenario(
        name="is retried, and the retry is over its rate",
        functions={"main": _fails_at_first, **FOLLOWING},
        embed=FOLLOWED,
        options={"main": RATED},
        states={"main": DONE, **FOLLOWED_STATES},
        effects=("reserve", *RETRIED),
    ),
    Scenario(
        name="keeps no result",
        functions={"main": five, **FOLLOWING},
        embed=FOLLOWED,
        options={"main": TaskOptions(ignore_result=True)},
        states={"main": None, **FOLLOWED_STATES},
        effects=("run", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="keeps no result but a failure",
        functions={"main": fails},
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
        functions={"main": five, **FOLLOWING},
        embed=FOLLOWED,
        attributes={DEAD_LETTER_REASON: "ValueError: before"},
        stored=_failed_before,
        states={"main": FIVE, **FOLLOWED_STATES},
        effects=("delete", "run", "save:SUCCESS", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="is redriven, retried and fails again",
        functions={"main": raises(OSError, "never"), "errback": told},
        embed=ONE_ERRBACK,
        options={"main": replace(AUTORETRY, max_retries=1)},
        attributes={DEAD_LETTER_REASON: "ValueError: before"},
        stored=_failed_before,
        states={"main": ("FAILURE", "OSError"), "errback": FIVE},
        effects=("delete", *RETRIED),
    ),
    Scenario(
        name="was done already",
        functions={"main": five, "errback": told},
        embed=ONE_ERRBACK,
        options={"main": TaskOptions(once=True, time_limit=60)},
        stored=_failed_before,
        states={"main": FAILED, "errback": FIVE},
        effects=("send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="was overtaken by a later attempt",
        functions={"main": five},
        options={"main": ONCE},
        stored=_retried_twice_before,
        states={"main": ("RETRY", "ValueError")},
        effects=("settle:Acknowledge",),
    ),
    Scenario(
        name="has too large a result",
        functions={"main": lambda: "x" * 20_000, "errback": told},
        embed=ONE_ERRBACK,
        largest_record_bytes=15_000,
        states={"main": ("FAILURE", "PayloadTooLarge"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="has too large an error",
        functions={"main": raises(ValueError, "x" * 20_000), "errback": told},
        embed=ONE_ERRBACK,
        largest_record_bytes=15_000,
        states={"main": FAILED, "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="has too large a value for what follows",
        functions={"main": lambda: "x" * 20_000, "next": five, "errback": told},
        embed=Embed(errbacks=[signature("errback")], chain=[signature("next")]),
        largest_message_bytes=15_000,
        states={"main": ("FAILURE", "PayloadTooLarge"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "save:FAILURE", "settle:Acknowledge"),
    ),
    Scenario(
        name="waits for a silent store",
        functions={"main": five},
        policy=Policy(patience_seconds=20),
        silent_saves=3,
        states={"main": FIVE},
        effects=ENDING_WELL,
    ),
    Scenario(
        name="loses its patience with a silent store",
        functions={"main": five},
        policy=Policy(patience_seconds=1),
        silent_saves=3,
        states={"main": FIVE},
        effects=("run", "settle:Release"),
    ),
    *WORKFLOWS,
    *FAN_OUTS,
]
