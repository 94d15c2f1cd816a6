"""A project for Celery on Redis or RabbitMQ: the callers of one package, and the workers of the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import uuid4

import pytest

from taskq_cloud.testing.waiting import until
from tests.celery.interop.loading import CELERY, OURS, PACKAGES
from tests.celery.interop.workers import SECONDS, Pair, get, pair_of_workers

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SYSTEMS: Final = {
    "redis": ("redis", "redis"),
    "redis-shared": ("redis", "taskq+redis"),
    "rabbitmq": ("rabbitmq", "redis"),
    "rabbitmq-quorum-shared": ("rabbitmq", "taskq+redis"),
}
"""The broker, and the scheme of Celery's result backend: its own, or the shared one."""


@pytest.fixture(scope="module", params=SYSTEMS)
def market(
    request: pytest.FixtureRequest, server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    broker, scheme = SYSTEMS[request.param]
    mark, results = uuid4().hex[:8], f"{server_url('redis')}/0"
    queues = {CELERY: f"theirs-{mark}", OURS: f"ours-{mark}"}
    settings: dict[str, Any] = {}
    if broker == "redis":
        settings["broker_transport_options"] = {"global_keyprefix": f"{mark}:"}
    if "quorum" in request.param:
        # Celery leaves a delay to RabbitMQ for quorum queues with a topic exchange.
        place = {"exchange": f"shop-{mark}", "exchange_type": "topic", "queue_arguments": {"x-queue-type": "quorum"}}
        settings["task_queues"] = {queue: {**place, "routing_key": queue} for queue in queues.values()}
    else:
        settings["task_queue_max_priority"] = 10
    common = {
        "INTEROP_BROKER": results if broker == "redis" else f"{server_url(broker)}//",
        "INTEROP_SETTINGS": json.dumps(settings),
    }
    environments = {
        CELERY: {**common, "INTEROP_RESULTS": results.replace("redis", scheme, 1)},
        OURS: {**common, "INTEROP_RESULTS": results},
    }
    with pair_of_workers("market", tmp_path_factory.mktemp("market"), environments, queues) as made:
        for package, side in made.sides.items():
            assert get(side.add.apply_async((1, 1), queue=queues[package])) == 2
        yield made
        if scheme != "redis":
            made.sides[CELERY].app.backend._taskq.close()


OTHERS: Final = dict(zip(PACKAGES, reversed(PACKAGES), strict=True))
"""The caller's package -> the worker's."""


@pytest.mark.parametrize("caller", PACKAGES)
def test_workflows_of_one_package_run_on_the_worker_of_the_other_once(market: Pair, caller: str) -> None:
    side, queue = market.sides[caller], market.queues[OTHERS[caller]]
    cases = side.calls(queue)
    if market.environments[CELERY]["INTEROP_RESULTS"].startswith("taskq+"):
        cases += side.chords(queue)
    before = len(market.journal("ran"))
    started = [(signature.apply_async(), value) for signature, value, _ in cases]
    for result, value in started:
        assert get(result) == value
    runs = market.journal("ran")[before:]
    assert {worker for worker, *_ in runs} == {OTHERS[caller]}
    assert len(runs) == sum(count for *_, count in cases)
    assert set(Counter(map(str, runs)).values()) == {1}


@pytest.mark.parametrize("caller", PACKAGES)
def test_callback_and_errbacks_of_one_package_run_on_the_worker_of_the_other_once(market: Pair, caller: str) -> None:
    side, queue = market.sides[caller], market.queues[OTHERS[caller]]
    place = {"queue": queue}
    mark = f"{caller}-mark"
    succeeded = side.add.apply_async((1, 2), queue=queue, link=side.linked.s(mark).set(**place))
    failed = side.fail.apply_async(queue=queue, link_error=[side.failed.s().set(**place), side.explained.s()])
    assert get(succeeded) == 3
    with pytest.raises(ValueError, match="no") as caught:
        get(failed)
    assert caught.value.args == ("no", 7)

    def found() -> list[list[Any]]:
        return [
            *(entry for entry in market.journal("linked") if entry[1] == mark),
            *(entry for kind in ("failed", "explained") for entry in market.journal(kind) if entry[1] == failed.id),
        ]

    until(lambda: len(found()) == 3, "the callback and both errbacks to run", SECONDS)
    worker = OTHERS[caller]
    assert found() == [[worker, mark, 3], [worker, failed.id], [worker, failed.id, "ValueError('no', 7)"]]


@pytest.mark.parametrize("caller", PACKAGES)
def test_ignored_result_is_not_stored_by_the_worker_of_the_other(market: Pair, caller: str) -> None:
    side, queue = market.sides[caller], market.queues[OTHERS[caller]]
    ignored = [side.quiet.apply_async(queue=queue), side.add.apply_async((1, 1), queue=queue, ignore_result=True)]

    def ran() -> list[str]:
        return [task_id for worker, task_id, *_ in market.journal("ran") if worker == OTHERS[caller]]

    until(lambda: {result.id for result in ignored} <= set(ran()), "both calls to run", SECONDS)
    assert get(side.add.apply_async((1, 2), queue=queue)) == 3
    assert [result.state for result in ignored] == ["PENDING", "PENDING"]
    assert [ran().count(result.id) for result in ignored] == [1, 1]
