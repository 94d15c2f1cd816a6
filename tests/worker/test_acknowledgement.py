"""Workers acknowledge a message before its run (``acks_late=False``), or not at all (``acks_on_failure=False``)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, Refused, Settlement
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import AccessDenied, Unreachable, WorkerLostError
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.waiting import auntil
from tests.conftest import StackAddress
from tests.worker.commands import Command
from tests.worker.serving import depth, serving


@pytest.fixture(params=["memory", "sqlite", "sqs"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskQ]:
    """An application on each broker."""
    prefix = f"early-{uuid4().hex[:8]}-"
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/broker.db", "sqs": f"sqs://eu-west-1/{prefix}"}
    if request.param == "sqs":
        import boto3

        stack: StackAddress = request.getfixturevalue("local_stack")
        for name, value in stack.environment().items():
            monkeypatch.setenv(name, value)
        sqs = boto3.client("sqs", region_name="eu-west-1")
        for queue in ("celery-dead", "celery"):
            sqs.create_queue(QueueName=f"{prefix}{queue}")
    app = TaskQ("tests", broker=urls[request.param], results="memory://", visibility_timeout=2)
    yield app
    app.close()


async def test_message_is_gone_while_its_task_runs(shop: TaskQ) -> None:
    began, go_on = threading.Event(), threading.Event()

    @shop.task(acks_late=False)
    def long() -> str:
        began.set()
        go_on.wait(20)
        return "done"

    async with serving(shop, concurrency=1) as worker:
        result = await long.adelay()
        await auntil(began.is_set, "the task to begin")
        assert depth(shop).total == 0
        assert len(worker._leased) == 0
        go_on.set()
        assert await result.aget(timeout=10) == "done"
    assert depth(shop).total == 0


async def test_failed_task_goes_to_the_dead_letter_queue(shop: TaskQ) -> None:
    @shop.task(acks_on_failure=False)
    def fail() -> None:
        raise ValueError("no such user")

    async with serving(shop, concurrency=1):
        result = await fail.adelay()
        with pytest.raises(ValueError, match="no such user"):
            await result.aget(timeout=10)
        await auntil(lambda: depth(shop, dead_letter_queue("celery")).total == 1, "the dead letter")
    (dead,) = await shop.arun(shop.broker.receive(dead_letter_queue("celery"), 1, 0, 30))
    assert dead.attributes[DEAD_LETTER_REASON] == "ValueError: no such user"


async def test_run_that_is_ended_by_the_workers_stop_is_a_failure(app: TaskQ) -> None:
    began = threading.Event()

    @app.task(acks_late=False)
    async def long() -> None:
        began.set()
        await asyncio.sleep(60)

    async with serving(app, pool="asyncio", shutdown_timeout=2) as worker:
        result = await long.adelay()
        await auntil(began.is_set, "the task to begin")
        worker.stop(give_up=True)
    assert result.state == "FAILURE"
    with pytest.raises(WorkerLostError, match="after its message was acknowledged: the worker stops"):
        result.get(timeout=1, disable_sync_subtasks=False)
    assert depth(app).total == 0


@pytest.mark.parametrize("stops", [False, True])
async def test_errback_of_early_acknowledged_task_is_called(app: TaskQ, stops: bool) -> None:
    called: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    @app.task(name="note")
    def note(_request: object, error: Exception, _traceback: str) -> None:
        called.append(str(error))

    @app.task(name="fail", acks_late=False)
    def fail() -> None:
        began.set()
        go_on.wait(20)
        raise ValueError("no such user")

    async with serving(app, concurrency=1) as worker:
        result = await fail.aapply_async((), link_error=note.s())
        await auntil(began.is_set, "the task to begin")
        if stops:
            worker.stop()
        go_on.set()
        with pytest.raises(ValueError, match="no such user"):
            await result.aget(timeout=10)
        await auntil(lambda: len(called) == 1, "the errback")
    assert called == ["no such user"]


async def test_errback_of_early_acknowledged_task_that_is_cut_off_is_a_failure(app: TaskQ) -> None:
    began = threading.Event()

    @app.task(name="note")
    async def note(_request: object, _error: Exception, _traceback: str) -> None:
        began.set()
        await asyncio.sleep(60)

    @app.task(name="fail", acks_late=False)
    async def fail() -> None:
        raise ValueError("no such user")

    async with serving(app, pool="asyncio", concurrency=1, shutdown_timeout=2) as worker:
        result = await fail.aapply_async((), link_error=note.s())
        await auntil(began.is_set, "the errback to begin")
        worker.stop(give_up=True)
    (errback,) = result.children
    assert errback.state == "FAILURE"
    with pytest.raises(WorkerLostError, match="the worker stops"):
        errback.get(timeout=1, disable_sync_subtasks=False)


async def test_messages_of_a_group_follow_one_another_without_being_given_back(app: TaskQ) -> None:
    class NotingBroker(MemoryBroker):
        def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
            settled.extend(map(type, settlements))
            return (yield from super().settle(settlements))

    settled: list[type] = []
    ran: list[int] = []
    vars(app)["broker"] = NotingBroker()
    app.task(name="note", acks_late=False)(ran.append)
    for number in range(6):
        await app.tasks["note"].aapply_async((number,), queue="work.fifo", MessageGroupId="g")
    async with serving(app, queues=["work.fifo"], concurrency=1):
        await auntil(lambda: len(ran) == 6, "all tasks")
    assert ran == list(range(6))
    assert settled == [Acknowledge] * 6


async def test_end_of_early_acknowledged_task_is_recorded_while_the_worker_gives_up(app: TaskQ) -> None:
    class SlowResults(MemoryResults):
        def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
            saving.set()
            yield Sleep(0.5)
            return (yield from super().save(records))

    saving = threading.Event()
    vars(app)["store"] = SlowResults()
    app.task(name="quick", acks_late=False)(lambda: 7)
    async with serving(app, shutdown_timeout=8) as worker:
        result = await app.tasks["quick"].adelay()
        await auntil(saving.is_set, "the result to be saved")
        worker.stop(give_up=True)
    assert result.state == "SUCCESS"


async def test_end_that_cannot_be_recorded_while_the_worker_stops_is_logged(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    class SilentResults(MemoryResults):
        def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
            saving.set()
            yield from ()
            raise Unreachable("the store gives no answer")

    saving = threading.Event()
    vars(app)["store"] = SilentResults()
    app.task(name="quick", acks_late=False)(lambda: None)
    async with serving(app, shutdown_timeout=1) as worker:
        await app.tasks["quick"].adelay()
        await auntil(saving.is_set, "the result to be saved")
        worker.stop(give_up=True)
    assert "whose end could not be recorded in time" in caplog.text
    assert depth(app).total == 0


class DenyingBroker:
    """Refuses to acknowledge messages, as a provider does without the permission."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        if any(isinstance(each, Acknowledge) for each in settlements):
            self.asked += 1
            return self._refuse(len(settlements))
        flow: Flow[list[Refused | None]] = self._broker.settle(settlements)
        return flow

    @staticmethod
    def _refuse(count: int) -> Flow[list[Refused | None]]:
        yield from ()
        return [Refused(AccessDenied("no permission"))] * count


async def test_task_does_not_run_before_its_message_is_acknowledged(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []
    app.task(name="note", acks_late=False)(lambda: runs.append(1))
    broker = vars(app)["broker"] = DenyingBroker(app.broker)
    async with serving(app, concurrency=1):
        await app.tasks["note"].adelay()
        await auntil(lambda: broker.asked >= 1, "an attempt")
    assert (runs, broker.asked) == ([], 1)
    assert depth(app).delayed == 1  # so that its receives don't run out at once
    assert "the message could not be acknowledged before the run: no permission" in caplog.text


class SlowBroker(MemoryBroker):
    """Settles at once, and answers half a second later."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.settling = threading.Event()
        self._error = error

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        answer = yield from super().settle(settlements)
        self.settling.set()
        yield Sleep(0.5)
        if self._error is not None:
            raise self._error
        return answer


async def test_run_is_a_failure_if_the_worker_gives_up_during_the_acknowledgement_before_it(app: TaskQ) -> None:
    ran: list[int] = []
    broker = vars(app)["broker"] = SlowBroker()
    app.task(name="note", acks_late=False)(lambda: ran.append(1))
    async with serving(app, shutdown_timeout=8) as worker:
        result = await app.tasks["note"].adelay()
        await auntil(broker.settling.is_set, "the acknowledgement")
        worker.stop(give_up=True)
    assert (ran, result.state) == ([], "FAILURE")
    with pytest.raises(WorkerLostError, match="after its message was acknowledged: the worker stops"):
        result.get(timeout=1, disable_sync_subtasks=False)


async def test_worker_without_time_for_the_answer_to_an_acknowledgement_says_so(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    broker = vars(app)["broker"] = SlowBroker()
    app.task(name="note", acks_late=False)(lambda: None)
    async with serving(app, shutdown_timeout=0.2) as worker:
        await app.tasks["note"].adelay()
        await auntil(broker.settling.is_set, "the acknowledgement")
        worker.stop(give_up=True)
    assert "task.may_be_lost" in [vars(each).get("action") for each in caplog.records]


async def test_task_may_be_lost_if_its_acknowledgement_gets_no_answer(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    vars(app)["broker"] = SlowBroker(Unreachable("no answer within 5 s"))
    app.task(name="note", acks_late=False)(lambda: ran.append(1))
    async with serving(app, shutdown_timeout=2):
        await app.tasks["note"].adelay()
        await auntil(lambda: "is lost if the broker has forgotten its message" in caplog.text, "the log line")
    (line,) = [each for each in caplog.records if vars(each).get("action") == "task.may_be_lost"]
    assert line.levelname == "ERROR"
    assert "no answer within 5 s" in line.getMessage()
    assert ran == []


APP = """
import os, signal
from taskq_cloud import TaskQ
from taskq_cloud.brokers.memory import MemoryBroker
app = TaskQ("shop")

@app.task(acks_late=False)
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_process_is_a_failure_at_once(folder: Path, caller: TaskQ) -> None:
    with Command(folder, "worker", "-A", "shop", "-c", "1"):
        result = caller.send_task("shop.kill")
        with pytest.raises(WorkerLostError, match=r"died \(killed by SIGKILL\) on receive 1"):
            result.get(timeout=20)
        assert depth(caller).total == 0
