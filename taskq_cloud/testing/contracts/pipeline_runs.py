"""Scenarios of the pipeline's contract: a message from its receipt to the end of its run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Lost, TimedOut
from taskq_cloud.errors import Ignore, Reject, Retry
from taskq_cloud.testing.contracts.pipeline_scenario import (
    AUTORETRY,
    DONE,
    ENDING_BADLY,
    ENDING_WELL,
    FAILED,
    FIVE,
    FOLLOWED,
    FOLLOWED_STATES,
    FOLLOWING,
    ONE_ERRBACK,
    RETRIED,
    Scenario,
    attempt,
    ends,
    fails,
    fails_at_first,
    five,
    raises,
    signature,
    told,
)


def _called(_request: object, exc: Exception, _traceback: str) -> str:
    return repr(exc)


def _asks_for_other_arguments(value: int = 0) -> int:
    if value < 2:
        raise Retry(when=40, args=(value + 1,))
    return value


def _requeued() -> str:
    if attempt().receive_count < 3:
        raise Reject("busy", requeue=True)
    return "done"


def _eta(task_id: str, now: float) -> Message:
    return Message(task="main", id=task_id, eta=datetime.fromtimestamp(now + 100, UTC))


def _expired(task_id: str, now: float) -> Message:
    return Message(task="main", id=task_id, expires=datetime.fromtimestamp(now - 1, UTC))


RUNS: Final = [
    Scenario(name="succeeds", functions={"main": five}, states={"main": FIVE}, effects=ENDING_WELL),
    Scenario(
        name="succeeds and is followed",
        functions={"main": five, **FOLLOWING},
        embed=FOLLOWED,
        states={"main": FIVE, **FOLLOWED_STATES},
        effects=("run", "save:SUCCESS", "send:callback_a,callback_b,next", "settle:Acknowledge"),
    ),
    Scenario(
        name="succeeds, and a task that follows fails",
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
        functions={"main": fails_at_first, **FOLLOWING},
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
        name="has used up its retries",
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
        name="can't be read except for its id",
        functions={"main": five},
        garbage='{"body": "[[1]]", "headers": {"task": "main", "id": "TASK_ID"}, "properties": {}}',
        states={"main": ("FAILURE", "InvalidTaskError")},
        effects=("save:FAILURE", "settle:DeadLetter"),
        dead_letters=("InvalidTaskError: the body isn't",),
    ),
    Scenario(
        name="has a callback that can't be read",
        functions={"main": five},
        embed=Embed(callbacks=[signature("next", countdown="soon")]),
        states={"main": ("FAILURE", "InvalidTaskError")},
        effects=("save:FAILURE", "settle:DeadLetter"),
        dead_letters=("InvalidTaskError: task main: a task that follows it can't be read",),
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
        name="is rejected and requeued",
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
        functions={"main": ends(Lost("killed by SIGKILL"), before_receive=3)},
        states={"main": DONE},
        effects=("run", "settle:Release"),
    ),
    Scenario(
        name="loses every process",
        functions={"main": ends(Lost("killed by SIGKILL")), "errback": told},
        embed=ONE_ERRBACK,
        states={"main": ("FAILURE", "WorkerLostError"), "errback": FIVE},
        worn_out={"main": ("FAILURE", "WorkerLostError")},
        effects=("run", "settle:Release"),
    ),
    Scenario(
        name="loses its process and is not to be run again",
        functions={"main": ends(Lost("exit code 3"))},
        options={"main": TaskOptions(reject_on_worker_lost=False)},
        states={"main": ("FAILURE", "WorkerLostError")},
        effects=ENDING_BADLY,
    ),
    Scenario(
        name="takes too long",
        functions={"main": ends(TimedOut(3)), "errback": told},
        embed=ONE_ERRBACK,
        states={"main": ("FAILURE", "TimeLimitExceeded"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
]
