"""Scenarios of the pipeline's contract: options of tasks, redelivered and redriven messages, limits and outages."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Embed, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Lost
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, RETRY, Record, version_of
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
    ends,
    fails,
    fails_at_first,
    five,
    raises,
    signature,
    told,
)


def _failed_before(task_id: str, now: float) -> Record:
    return _recorded(task_id, FAILURE, 0, now)


def _retried_twice_before(task_id: str, now: float) -> Record:
    return _recorded(task_id, RETRY, 1, now)


def _recorded(task_id: str, state: str, attempt: int, now: float) -> Record:
    described = document.encode_error(ErrorInfo.of(ValueError("before")))
    payload = document.encode(Message(task="main", id=task_id), state, described, now=now)
    return Record(task_id, state, version_of(state, attempt), payload)


ONCE = TaskOptions(once=True, time_limit=60, autoretry_for=(OSError,), default_retry_delay=20)
RATED = TaskOptions(rate_limit="1/m", autoretry_for=(OSError,), default_retry_delay=20)

CONDITIONS: Final = [
    Scenario(
        name="runs once",
        functions={"main": five},
        options={"main": ONCE},
        states={"main": FIVE},
        effects=("claim", *ENDING_WELL),
    ),
    Scenario(
        name="runs once, is retried and followed",
        functions={"main": fails_at_first, **FOLLOWING},
        embed=FOLLOWED,
        options={"main": ONCE},
        states={"main": DONE, **FOLLOWED_STATES},
        effects=("claim", "run", "save:RETRY", "give up claim", "send:main", "settle:Acknowledge"),
    ),
    Scenario(
        name="runs once and loses its process",
        functions={"main": ends(Lost("killed by SIGKILL"), before_receive=2)},
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
        functions={"main": fails_at_first, **FOLLOWING},
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
        name="keeps no result except a failure",
        functions={"main": fails},
        policy=Policy(ignore_result=True, store_errors_even_if_ignored=True),
        states={"main": FAILED},
        effects=ENDING_BADLY,
    ),
    Scenario(
        name="records that it has started",
        functions={"main": fails_at_first},
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
        name="has ended already",
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
        name="waits for a store that gives no answer",
        functions={"main": five},
        policy=Policy(patience_seconds=20),
        silent_saves=3,
        states={"main": FIVE},
        effects=ENDING_WELL,
    ),
    Scenario(
        name="is given back when the store gives no answer",
        functions={"main": five},
        policy=Policy(patience_seconds=1),
        silent_saves=3,
        states={"main": FIVE},
        effects=("run", "settle:Release"),
    ),
]
