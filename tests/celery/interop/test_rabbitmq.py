"""Workers and callers of Celery and of ``taskq_cloud`` share queues on RabbitMQ, classic ones and quorum queues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import amqp
import pytest

from taskq_cloud.testing.waiting import until
from tests.celery.interop.loading import CELERY, OURS
from tests.celery.interop.shared_queues import SharedQueuesContract
from tests.celery.interop.workers import SECONDS, Pair, pair_of_workers

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", params=["classic", "quorum"], name="rabbitmq_depot")
def make_depot(
    request: pytest.FixtureRequest, server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    mark = uuid4().hex[:8]
    queues, both = {CELERY: f"theirs-{mark}", OURS: f"ours-{mark}"}, f"both-{mark}"
    # Celery leaves a delay to the server for quorum queues with a topic exchange.
    exchange_type = {"classic": "direct", "quorum": "topic"}[request.param]
    settings = {
        "task_default_queue": both,
        "task_default_queue_type": request.param,
        "task_default_exchange_type": exchange_type,
        "task_create_missing_queue_type": request.param,
        "task_create_missing_queue_exchange_type": exchange_type,
    }
    url, folder = f"{server_url('rabbitmq')}//", tmp_path_factory.mktemp("rabbitmq")
    common = {"INTEROP_SETTINGS": json.dumps(settings)}
    environments = {
        CELERY: {**common, "INTEROP_BROKER": url, "INTEROP_RESULTS": f"taskq+sqlite:///{folder}/results.db"},
        OURS: {
            **common,
            "INTEROP_BROKER": f"{url}?queue_type={request.param}&exchange_type={exchange_type}",
            "INTEROP_RESULTS": f"sqlite:///{folder}/results.db",
        },
    }
    with pair_of_workers("depot", folder, environments, queues, both) as made:
        yield made


class TestRabbitMQ(SharedQueuesContract):
    revokes_expired_of = (OURS,)  # Celery gives its message an expiry, by which RabbitMQ drops it without a word
    latest_seconds = 4

    @pytest.fixture
    def depot(self, rabbitmq_depot: Pair) -> Pair:
        return rabbitmq_depot


def test_messages_are_all_gone_at_the_end(rabbitmq_depot: Pair) -> None:
    server = urlsplit(rabbitmq_depot.environments[CELERY]["INTEROP_BROKER"])
    with amqp.Connection(f"{server.hostname}:{server.port}") as connection:
        channel = connection.channel()

        def are_gone() -> bool:
            names = (*rabbitmq_depot.queues.values(), rabbitmq_depot.shared)
            return not any(channel.queue_declare(name, passive=True).message_count for name in names)

        until(are_gone, "all messages to be taken", SECONDS)
    assert [process.poll() for process in rabbitmq_depot.processes] == [None, None]
