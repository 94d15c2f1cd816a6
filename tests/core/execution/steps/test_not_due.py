"""Messages that are not due: the broker's capabilities decide whether the broker or the receivers hold them back."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.flows import run
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.sending import Outbox
from taskq_cloud.core.model.capabilities import BrokerCapabilities
from taskq_cloud.core.model.message import Acknowledge, Delivery, Message, Release, Settlement
from taskq_cloud.core.model.outcome import (
    Admission,
    Admitted,
    ErrorInfo,
    Invocation,
    Lost,
    Outcome,
    Retrying,
    Succeeded,
)
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import DelayTooLong

NOW = 1_750_000_000.0
ANY = MemoryBroker.capabilities
WITHOUT_DELAYS = replace(
    ANY,
    longest_delay_seconds=0,
    longest_ordered_delay_seconds=0,
    longest_parking_seconds=600,
    prefers_parking=True,
    beyond_parking="a clock",
)
WITH_LONG_DELAYS = replace(WITHOUT_DELAYS, longest_delay_seconds=86_400)
LIKE_SQS = replace(ANY, longest_delay_seconds=900, longest_ordered_delay_seconds=0)


def delay_of(seconds: float, capabilities: BrokerCapabilities, queue: str = "work") -> float:
    message = Message(task="notify", id="t-1", eta=datetime.fromtimestamp(NOW + seconds, UTC))
    broker: Any = SimpleNamespace(capabilities=capabilities)
    return Outbox(Codec(), broker).address(message, queue, NOW).outgoing.delay_seconds


@pytest.mark.parametrize(
    ("capabilities", "queue", "seconds", "expected"),
    [
        (ANY, "work", 1e6, 1e6),
        (LIKE_SQS, "work", 60, 60),
        (LIKE_SQS, "work", 5000, 900),
        (LIKE_SQS, "work.fifo", 5000, 0),
        (WITHOUT_DELAYS, "work", 600, 0),
        (WITH_LONG_DELAYS, "work", 600, 0),
        (WITH_LONG_DELAYS, "work", 601, 601),
        (WITH_LONG_DELAYS, "work", 1e6, 86_400),
        (WITH_LONG_DELAYS, "work.fifo", 600, 0),
        (WITHOUT_DELAYS, "work", -5, 0),
    ],
)
def test_broker_gets_the_delay_that_its_capabilities_allow(
    capabilities: BrokerCapabilities, queue: str, seconds: float, expected: float
) -> None:
    assert delay_of(seconds, capabilities, queue) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("capabilities", "queue"),
    [(WITHOUT_DELAYS, "work"), (WITHOUT_DELAYS, "work.fifo"), (WITH_LONG_DELAYS, "work.fifo")],
)
def test_message_due_too_late_is_refused(capabilities: BrokerCapabilities, queue: str) -> None:
    with pytest.raises(DelayTooLong, match=f"notify is due in 601 s, and queue '{queue}' .* at most 600 s: .* a clock"):
        delay_of(601, capabilities, queue)


def test_longest_eta_follows_from_the_capabilities() -> None:
    assert LIKE_SQS.longest_eta("work") == LIKE_SQS.longest_eta("work.fifo") == math.inf
    assert (WITH_LONG_DELAYS.longest_eta("work"), WITH_LONG_DELAYS.longest_eta("work.fifo")) == (math.inf, 600)


# -- in the pipeline


class Broker(MemoryBroker):
    """The memory broker with the capabilities of another one."""

    def __init__(self, capabilities: BrokerCapabilities) -> None:
        super().__init__(lambda: NOW)
        self.capabilities = capabilities  # type: ignore[misc]


def settled(capabilities: BrokerCapabilities, outcome: Outcome | None, **delivered: Any) -> tuple[Settlement, TaskQ]:
    """Process a delivery whose run, if there is one, ends in ``outcome``; return the settlement and the application."""
    app = TaskQ("parking", broker="memory://", results="memory://")
    app.task(name="notify")(lambda: None)
    if delivered.pop("revoked", False):
        app.AsyncResult("t-1").revoke()
    vars(app)["broker"] = Broker(capabilities)
    eta = delivered.pop("eta", None)
    body = json.dumps({"task": "notify", "id": "t-1", "eta": eta and datetime.fromtimestamp(eta, UTC).isoformat()})
    delivery = Delivery(**{"queue": "work", "message_id": "m-1", "receipt": "r-1", "body": body, **delivered})

    def perform(step: Any) -> Any:
        if isinstance(step, Admission):
            return Admitted(os.getpid())
        assert isinstance(step, Invocation), step
        assert outcome is not None
        return outcome

    return run(app.runtime().pipeline.process(delivery), perform), app


def depth(app: TaskQ, queue: str = "work") -> Depth:
    found = app.run(app.broker.depth(queue))
    assert found is not None
    return found


def test_early_message_is_released_and_a_pushed_one_is_sent_again() -> None:
    due = time.time() + 500
    parked, _ = settled(WITH_LONG_DELAYS, None, eta=due)
    assert isinstance(parked, Release)
    assert parked.after_seconds == pytest.approx(500, abs=60)
    pushed, app = settled(WITH_LONG_DELAYS, None, eta=due, pushed=True)
    assert isinstance(pushed, Acknowledge)
    assert depth(app).delayed == 1


@pytest.mark.parametrize(
    ("capabilities", "delivered"),
    [(LIKE_SQS, {}), (LIKE_SQS, {"queue": "work.fifo", "receive_count": 2}), (WITHOUT_DELAYS, {"receive_count": 2})],
    ids=["hops", "ordered", "parked"],
)
def test_message_revoked_while_held_back_is_not_held_back_again(
    capabilities: BrokerCapabilities, delivered: dict[str, Any]
) -> None:
    due = time.time() + 4000
    settlement, app = settled(capabilities, None, eta=due, revoked=True, **delivered)
    assert isinstance(settlement, Acknowledge)
    assert [depth(app, queue).total for queue in ("work", "work.fifo")] == [0, 0]
    # Other messages keep waiting. So does a revoked message before its last wait: it is looked up afterwards anyway.
    waiting, app = settled(capabilities, None, eta=due, **delivered)
    assert isinstance(waiting, Release) or depth(app).delayed == 1
    _, app = settled(LIKE_SQS, None, eta=time.time() + 800, revoked=True)
    assert depth(app).delayed == 1


@pytest.mark.parametrize("pushed", [False, True])
def test_parked_message_keeps_its_place_on_an_ordered_queue(pushed: bool) -> None:
    out_of_order = replace(WITH_LONG_DELAYS, longest_ordered_delay_seconds=86_400, delays_in_order=False)
    soon, _ = settled(out_of_order, None, eta=time.time() + 500, queue="work.fifo", pushed=pushed)
    assert isinstance(soon, Release)
    late, app = settled(out_of_order, None, eta=time.time() + 5000, queue="work.fifo", pushed=pushed)
    assert isinstance(late, Acknowledge)
    assert depth(app, "work.fifo").delayed == 1


def test_retry_due_too_late_fails_the_task() -> None:
    again = Retrying(ErrorInfo.of(ValueError("busy")), 3600)
    settlement, app = settled(WITHOUT_DELAYS, again)
    assert isinstance(settlement, Acknowledge)
    assert app.AsyncResult("t-1").state == "FAILURE"
    assert "DelayTooLong" in repr(app.AsyncResult("t-1").result)


def test_task_that_kills_its_process_fails_at_once_if_receives_are_not_counted() -> None:
    settlement, app = settled(ANY, Lost("killed by SIGKILL"), counted=False)
    assert isinstance(settlement, Acknowledge)
    assert app.AsyncResult("t-1").state == "FAILURE"
    settlement, app = settled(ANY, Lost("killed by SIGKILL"))
    assert isinstance(settlement, Release)


def test_store_is_asked_before_every_run_if_receives_are_not_counted() -> None:
    settlement, app = settled(ANY, Succeeded("1"), counted=False)
    delivery = settlement.delivery
    assert run(app.runtime().pipeline.process(delivery), lambda step: pytest.fail(f"ran again: {step}")) == settlement
