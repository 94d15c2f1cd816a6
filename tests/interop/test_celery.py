"""Celery 5.7 and taskq_cloud on one SQS queue and one DynamoDB table, in both directions."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import DEAD_LETTER_REASON
from taskq_cloud.testing.waiting import auntil
from tests.worker.serving import serving

pytest.importorskip("celery")
RICH = [
    datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    date(2026, 1, 2),
    Decimal("1.50"),
    uuid.UUID(int=5),
    b"\xff\x00",
    b"text",
    "na\u00efve \U0001f600",
]


async def get(result: Any, **options: Any) -> Any:
    """Call Celery's blocking ``get`` on another thread, because our worker runs on this one."""
    return await asyncio.to_thread(result.get, timeout=20, interval=0.1, **options)


# -- Celery's calls on our worker


async def test_celerys_calls_run_here_and_celery_reads_the_results(celery: Any, app: TaskQ) -> None:
    tasks = celery.tasks
    echoed = tasks["interop.echo"].delay(*RICH, key={"nested": RICH})
    failed = tasks["interop.fail"].delay("no")
    flaky = tasks["interop.flaky"].delay()
    async with serving(app):
        assert await get(tasks["interop.add"].delay(2, 3)) == 5
        assert await get(echoed) == [RICH, {"key": {"nested": RICH}}]
        with pytest.raises(ValueError, match="no") as caught:
            await get(failed)
        assert caught.value.args == ("no", 7)
        assert await get(flaky) == 2
    assert failed.state == "FAILURE"
    assert "ValueError" in failed.traceback
    assert flaky.name == "interop.flaky"
    assert flaky.retries == 2


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zlib", "gzip", "bzip2"])
async def test_celerys_compressed_calls_run_here(celery: Any, app: TaskQ, compression: str) -> None:
    result = celery.tasks["interop.echo"].apply_async(("x" * 1000,), compression=compression)
    async with serving(app):
        assert await get(result) == [["x" * 1000], {}]


async def test_celerys_eta_expiry_and_protocol_1_are_obeyed(celery: Any, app: TaskQ) -> None:
    begun = datetime.now(UTC)
    late = celery.tasks["interop.add"].apply_async((1, 1), countdown=3)
    expired = celery.tasks["interop.add"].apply_async((1, 1), expires=begun - timedelta(seconds=5))
    celery.conf.task_protocol = 1
    celery.amqp.__dict__.pop("_create_task_sender", None)
    old = celery.tasks["interop.add"].apply_async((20, 1))
    async with serving(app):
        assert await get(old) == 21
        assert await get(late) == 2
        assert datetime.now(UTC) - begun >= timedelta(seconds=3)
        await auntil(lambda: expired.state == "REVOKED", "the expired call to be revoked")


async def test_celerys_chain_callback_and_errback_are_followed(celery: Any, app: TaskQ) -> None:
    add, note, fail = (celery.tasks[f"interop.{name}"] for name in ("add", "note", "fail"))
    chained = (add.s(1, 2) | add.s(10) | add.s(100)).apply_async()
    noted, noted_failure = str(uuid.uuid4()), str(uuid.uuid4())
    linked = add.apply_async((1, 1), link=note.s().set(task_id=noted))
    failed = fail.apply_async(("no",), link_error=celery.signature("interop.note", task_id=noted_failure))
    async with serving(app):
        assert await get(chained) == 113
        assert await get(linked) == 2
        assert await get(celery.AsyncResult(noted)) == ["noted", 2]
        assert await get(celery.AsyncResult(noted_failure)) == ["noted", failed.id]


async def test_pickled_call_is_dead_lettered_with_its_reason(celery: Any, app: TaskQ, queue: str) -> None:
    result = celery.tasks["interop.add"].apply_async((1, 2), serializer="pickle")
    async with serving(app):
        await auntil(lambda: result.state == "FAILURE", "the state FAILURE")
        read: list[Any] = []

        async def dead() -> bool:
            read.extend(await app.arun(app.broker.receive(dead_letter_queue(queue), 1, 1, 30)))
            return bool(read)

        await auntil(dead, "the dead letter")
    assert "ContentDisallowed" in read[0].attributes[DEAD_LETTER_REASON]
    assert "x-python-serialize" in read[0].attributes[DEAD_LETTER_REASON]


# -- our calls on Celery's worker


def test_our_calls_run_on_celerys_worker_and_we_read_the_results(
    app: TaskQ, celery_worker: subprocess.Popen[bytes]
) -> None:
    tasks = app.tasks
    added = tasks["interop.add"].delay(2, 3)
    echoed = tasks["interop.echo"].delay(*RICH, key={"nested": RICH})
    packed = tasks["interop.echo"].apply_async(("x" * 1000,), compression="zlib")
    failed = tasks["interop.fail"].delay("no")
    flaky = tasks["interop.flaky"].delay()
    expired = tasks["interop.add"].apply_async((1, 1), expires=-5)
    assert added.get(timeout=30) == 5
    assert echoed.get(timeout=10) == [RICH, {"key": {"nested": RICH}}]
    assert packed.get(timeout=10) == [["x" * 1000], {}]
    with pytest.raises(ValueError, match="no") as caught:
        failed.get(timeout=10)
    assert caught.value.args == ("no", 7)
    assert flaky.get(timeout=20) == 2
    with pytest.raises(Exception, match="expired"):
        expired.get(timeout=10)
    assert expired.state == "REVOKED"
    assert celery_worker.poll() is None


async def test_queue_served_by_both_workers_gives_every_result(
    app: TaskQ, celery: Any, celery_worker: subprocess.Popen[bytes], queue: str
) -> None:
    ours = app.tasks["interop.add"].map_async([(number, 1) for number in range(20)])
    theirs = [celery.tasks["interop.add"].delay(number, 1) for number in range(20)]
    async with serving(app, concurrency=1, prefetch_multiplier=1):
        for number in range(20):
            assert await ours[number].aget(timeout=30) == number + 1
            assert await get(theirs[number]) == number + 1
    workers = {json.dumps(result.load().document["worker"]) for result in ours}
    assert workers
    assert celery_worker.poll() is None
