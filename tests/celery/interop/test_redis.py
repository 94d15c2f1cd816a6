"""Workers and callers of Celery and of ``taskq_cloud`` share queues on Redis, in Celery's layout."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from taskq_cloud.brokers._redis_celery import CeleryRedisBroker
from taskq_cloud.core.ports import Depth
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until
from tests.celery.interop.loading import CELERY, OURS
from tests.celery.interop.shared_queues import SharedQueuesContract
from tests.celery.interop.workers import SECONDS, Pair, get, pair_of_workers

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", name="redis_depot")
def make_depot(server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    url, prefix = f"{server_url('redis')}/0", f"{uuid4().hex}:"
    settings = {
        "task_default_queue": "both",
        # kombu has no option "layout", and takes no notice of it.
        "broker_transport_options": {"layout": "celery", "global_keyprefix": prefix},
    }
    common = {
        "INTEROP_BROKER": url,
        "INTEROP_SETTINGS": json.dumps(settings),
        "INTEROP_PREFIX": prefix,
        "TASKQ_VISIBILITY_TIMEOUT": "2",
    }
    environments = {
        CELERY: {**common, "INTEROP_RESULTS": f"taskq+{url}"},
        OURS: {**common, "INTEROP_RESULTS": url},
    }
    queues = {CELERY: "theirs", OURS: "ours"}
    with pair_of_workers("depot", tmp_path_factory.mktemp("redis"), environments, queues, "both") as made:
        yield made
        made.sides[CELERY].app.backend._taskq.close()


class TestRedis(SharedQueuesContract):
    latest_seconds = SECONDS  # a sweep of Celery's takes 100 s to come

    @pytest.fixture
    def depot(self, redis_depot: Pair) -> Pair:
        return redis_depot


def test_revoked_call_does_not_run_here(redis_depot: Pair) -> None:
    """Ours revokes by a record in the result store."""
    result = redis_depot.sides[CELERY].about.apply_async(queue=redis_depot.queues[OURS], countdown=2)
    redis_depot.sides[OURS].app.control.revoke(result.id)
    with pytest.raises(Exception, match="revoked"):
        get(result)


def test_message_of_a_killed_worker_ends_once_on_celerys(redis_depot: Pair, tmp_path: Path) -> None:
    celery, node = redis_depot.sides[CELERY], f"{redis_depot.queues[CELERY]}@test"
    worker = redis_depot.worker(OURS, "killed")
    result = celery.held.apply_async((str(tmp_path / "stops"),), queue="killed")
    until(lambda: redis_depot.journal("begun"), "the run to begin", SECONDS)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    redis_depot.processes.remove(worker)

    [answer] = celery.app.control.add_consumer("killed", destination=[node], reply=True, timeout=SECONDS)
    assert "ok" in answer[node]
    until(lambda: len(redis_depot.journal("begun")) == 2, "the second run to begin", SECONDS)
    (tmp_path / "stops").touch()
    assert get(result) == CELERY
    assert [worker for worker, _ in redis_depot.journal("ended")] == [CELERY]
    assert celery.app.control.inspect(timeout=SECONDS, limit=1).ping() == {node: {"ok": "pong"}}


def test_messages_are_all_gone_at_the_end(redis_depot: Pair) -> None:
    options = {"global_keyprefix": redis_depot.environments[OURS]["INTEROP_PREFIX"]}
    broker = CeleryRedisBroker([redis_depot.environments[OURS]["INTEROP_BROKER"]], options)
    with driving("sync", broker.services) as run:

        def are_gone() -> bool:
            return all(
                run(broker.depth(queue)) == Depth(0, 0, 0) for queue in (*redis_depot.queues.values(), "both", "killed")
            )

        until(are_gone, "all messages to be settled", SECONDS)
        assert run(broker.depth("both-dead")) == Depth(0, 0, 0)
    assert [process.poll() for process in redis_depot.processes] == [None, None]
