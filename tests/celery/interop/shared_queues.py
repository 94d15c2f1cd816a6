"""The tests of queues that workers and callers of Celery and of ``taskq_cloud`` share, for any broker of both."""

from __future__ import annotations

import time
from collections import Counter
from typing import ClassVar

import pytest

from taskq_cloud.testing.waiting import until
from tests.celery.interop.loading import PACKAGES
from tests.celery.interop.workers import SECONDS, Pair, get


class SharedQueuesContract:
    """The tests, with the fixture ``depot``: the project ``depot``, and workers that share the default queue.

    Attributes:
        revokes_expired_of: the packages whose expired calls reach a worker, which revokes them.
        latest_seconds: how much later than its call a task with a countdown of 1.5 s begins at the latest.
    """

    revokes_expired_of: ClassVar[tuple[str, ...]] = PACKAGES
    latest_seconds: ClassVar[float]

    @pytest.fixture
    def depot(self) -> Pair:
        """The project of both packages, and a worker of each."""
        raise NotImplementedError

    @pytest.mark.parametrize("caller", PACKAGES)
    def test_workflows_go_through_workers_of_both(self, depot: Pair, caller: str) -> None:
        side = depot.sides[caller]
        queues = [tuple(depot.queues.values()), tuple(reversed(depot.queues.values()))]
        started = [(flow.apply_async(), value) for order in queues for flow, value in side.workflows(order)]
        for result, value in started:
            assert get(result) == value

    @pytest.mark.parametrize("served_by", PACKAGES)
    @pytest.mark.parametrize("caller", PACKAGES)
    def test_calls_run_on_the_worker_of_the_other_as_on_its_own(self, depot: Pair, caller: str, served_by: str) -> None:
        side, queue = depot.sides[caller], depot.queues[served_by]
        begun = time.time()
        late = side.about.apply_async(queue=queue, countdown=1.5)
        failed = side.fail.apply_async(queue=queue)
        retried = side.flaky.apply_async((2,), queue=queue)
        expired = side.add.apply_async((1, 1), queue=queue, expires=-5)
        urgent = [side.about.apply_async(queue=queue, priority=priority) for priority in (0, 3, 9)]
        packed = side.add.apply_async((2, 3), queue=queue, compression="zlib")

        assert get(packed) == 5
        for priority, result in zip((0, 3, 9), urgent, strict=True):
            assert get(result)[:3] == [served_by, queue, priority]
        with pytest.raises(ValueError, match="no") as caught:
            get(failed)
        assert caught.value.args == ("no", 7)
        assert get(retried) == 2
        if caller in self.revokes_expired_of:
            until(lambda: expired.state == "REVOKED", "the expired call to be revoked", SECONDS)
        *_, ran_at = get(late)
        assert 1.5 <= ran_at - begun <= self.latest_seconds

    def test_every_call_ends_exactly_once_on_the_queue_of_both(self, depot: Pair) -> None:
        sent: dict[str, int] = {}
        for _ in range(10):
            started = [(side.once.delay(number), number) for number in range(30) for side in depot.sides.values()]
            for result, number in started:
                assert get(result) == number
                sent[result.id] = number
            runs = depot.journal("once")
            if {worker for worker, *_ in runs} == set(PACKAGES):
                break
        assert {worker for worker, *_ in runs} == set(PACKAGES), "one of the workers has run nothing"
        assert Counter(task_id for _, task_id, _ in runs) == Counter(list(sent))
