"""Tests of the Pub/Sub broker: the contract of brokers on Google's fake server and on our own, which can do more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import uuid4

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from taskq_cloud.brokers._pubsub_options import PubSubOptions
from taskq_cloud.brokers.pubsub import PubSubBroker
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.testing.contracts.broker import BrokerContract
from tests.brokers.conftest import PROJECT
from tests.brokers.pubsub_server import PubSubServer


@pytest.mark.slow_async
class TestGooglesFake(BrokerContract):
    """Google's fake keeps no order, counts no receives and accepts every receipt."""

    @pytest.fixture
    def broker(self, pstest_host: str, monkeypatch: pytest.MonkeyPatch) -> PubSubBroker:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pstest_host)
        return PubSubBroker(PubSubOptions(project=PROJECT))

    @pytest.fixture
    def queue(self, pstest_host: str) -> Iterator[str]:
        queue = f"work-{uuid4().hex[:8]}"
        with grpc.insecure_channel(pstest_host) as channel:
            publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
            for name in (queue, dead_letter_queue(queue)):
                topic = f"projects/{PROJECT}/topics/{name}"
                publisher.create_topic(name=topic)
                subscriber.create_subscription(
                    request={
                        "name": f"projects/{PROJECT}/subscriptions/{name}",
                        "topic": topic,
                        "ack_deadline_seconds": 10,
                    }
                )
            yield queue

    @pytest.fixture
    def ordered_queue(self) -> str:
        pytest.skip("Google's fake keeps no order; our own server does")


class TestPubSub(BrokerContract):
    @pytest.fixture
    def broker(self, pubsub_server: PubSubServer) -> PubSubBroker:
        return PubSubBroker(PubSubOptions(project=PROJECT))

    @pytest.fixture
    def queue(self, make_pubsub_queue: Callable[..., str]) -> str:
        return make_pubsub_queue("work")

    @pytest.fixture
    def ordered_queue(self, make_pubsub_queue: Callable[..., str]) -> str:
        return make_pubsub_queue("work.fifo")

    @pytest.fixture
    def advance(self, pubsub_server: PubSubServer) -> Callable[[float], None]:
        return pubsub_server.advance


@pytest.mark.slow_async
class TestExactlyOnce(TestPubSub):
    """Exactly-once delivery checks receipts, and a dead-letter policy counts receives."""

    @pytest.fixture
    def broker(self, pubsub_server: PubSubServer) -> PubSubBroker:
        broker = PubSubBroker(PubSubOptions(project=PROJECT))
        broker.capabilities = replace(broker.capabilities, checks_receipts=True)
        return broker

    @pytest.fixture
    def queue(self, make_pubsub_queue: Callable[..., str]) -> str:
        return make_pubsub_queue("work", exactly_once=True)

    @pytest.fixture
    def ordered_queue(self, make_pubsub_queue: Callable[..., str]) -> str:
        return make_pubsub_queue("work.fifo", exactly_once=True)


@pytest.mark.slow_async
class TestWithCloudTasks(TestPubSub):
    @pytest.fixture
    def broker(self, pubsub_server: PubSubServer) -> PubSubBroker:
        queue = f"projects/{PROJECT}/locations/europe-west1/queues/later"
        pubsub_server.task_queues.add(queue)
        return PubSubBroker(
            PubSubOptions(project=PROJECT, cloud_tasks_queue=queue, cloud_tasks_service_account="later@example.com")
        )
