"""Tests of the SQS broker on the local stack: the contract of brokers, and the number of calls and their faults."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulators.call_counter import CallCounter, Fault
from taskq_cloud.brokers._sqs_options import SQSOptions
from taskq_cloud.brokers.sqs import SQSBroker
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Refused, Sent
from taskq_cloud.core.ports import Broker
from taskq_cloud.errors import QueueNotFound, Unreachable
from taskq_cloud.testing.contracts.broker import Advance, BrokerContract
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS, bodies, receive_now, take
from taskq_cloud.testing.driving import Drive, driving
from tests.conftest import StackAddress

REGION = "eu-west-1"
MEBIBYTE = 1_048_576

# The SDK gives aiohttp a body as bytes, and aiohttp warns when the body has a mebibyte, which is SQS's limit.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly with raw bytes:ResourceWarning")


@pytest.mark.slow_async
@pytest.mark.second_stack
class TestSQS(BrokerContract):
    @pytest.fixture
    def broker(self, local_stack: StackAddress, aws_environment: dict[str, str]) -> SQSBroker:
        return SQSBroker(SQSOptions(region=REGION, endpoint_url=local_stack.endpoint_url))

    @pytest.fixture
    def queue(self, make_queue: Callable[..., str]) -> str:
        return _with_dead_letter_queue(make_queue, "work")

    @pytest.fixture
    def ordered_queue(self, make_queue: Callable[..., str]) -> str:
        return _with_dead_letter_queue(make_queue, "work.fifo")

    @pytest.mark.needs("tells_stale_receipts")
    def test_lost_lease_is_not_extended(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        super().test_lost_lease_is_not_extended(broker, queue, run, advance)

    @pytest.mark.needs("tells_stale_receipts")
    def test_stale_receipt_changes_nothing(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        super().test_stale_receipt_changes_nothing(broker, queue, run, advance)


def _with_dead_letter_queue(make_queue: Callable[..., str], name: str) -> str:
    queue = make_queue(name)
    make_queue(dead_letter_queue(queue), exactly=True)
    return queue


# On the local stack, behind a proxy that counts calls


@pytest.fixture
def counter(local_stack: StackAddress, aws_environment: dict[str, str]) -> Iterator[CallCounter]:
    with CallCounter(local_stack.endpoint_url) as counter:
        yield counter


@pytest.fixture
def broker(counter: CallCounter) -> SQSBroker:
    return SQSBroker(SQSOptions(region=REGION, endpoint_url=counter.endpoint_url))


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, broker: SQSBroker) -> Iterator[Drive]:
    with driving(request.param, broker.services) as drive:
        yield drive


def test_hundred_messages_take_ten_calls_each_way(
    broker: SQSBroker, run: Drive, counter: CallCounter, make_queue: Callable[..., str]
) -> None:
    queue = make_queue()
    sent = run(broker.send(queue, [Outgoing(body=str(number)) for number in range(100)]))
    assert all(isinstance(each, Sent) for each in sent)
    assert counter.counts() == {"GetQueueUrl": 1, "SendMessageBatch": 10}

    counter.reset()
    deliveries = [each for _ in range(10) for each in run(broker.receive(queue, 10, 20, LEASE_SECONDS))]
    assert sorted(bodies(deliveries), key=int) == [str(number) for number in range(100)]
    assert run(broker.extend(deliveries, LEASE_SECONDS)) == [None] * 100
    assert run(broker.settle([Acknowledge(each) for each in deliveries])) == [None] * 100
    assert counter.counts() == {"ReceiveMessage": 10, "ChangeMessageVisibilityBatch": 10, "DeleteMessageBatch": 10}


def test_configured_url_is_not_looked_up(counter: CallCounter, make_queue: Callable[..., str], sqs_client: Any) -> None:
    full_name = make_queue("shop-work")
    url = sqs_client.get_queue_url(QueueName=full_name)["QueueUrl"]
    for name in ("work", "shop-work"):
        broker = SQSBroker(
            SQSOptions(region=REGION, prefix="shop-", queue_urls={name: url}, endpoint_url=counter.endpoint_url)
        )
        with driving("sync", broker.services) as run:
            run(broker.send("work", [Outgoing(body="x")]))
    assert counter.counts() == {"SendMessageBatch": 2}


def test_delivery_has_the_queues_name_without_the_prefix(counter: CallCounter, make_queue: Callable[..., str]) -> None:
    full_name = make_queue("shop-a-b_c")
    queue = "a.b/c" + full_name.removeprefix("shop-a-b_c")
    broker = SQSBroker(SQSOptions(region=REGION, prefix="shop-", endpoint_url=counter.endpoint_url))
    with driving("sync", broker.services) as run:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
    assert delivery.queue == queue


def test_send_with_lost_answer_is_repeated(
    broker: SQSBroker, run: Drive, counter: CallCounter, make_queue: Callable[..., str]
) -> None:
    queue = make_queue()
    counter.fail_next("SendMessageBatch", "reset_after")
    [answer] = run(broker.send(queue, [Outgoing(body="x")]))
    assert isinstance(answer, Sent)
    assert bodies(take(run, broker, queue, 2)) == ["x", "x"]


def test_send_with_lost_answer_to_ordered_queue_is_one_message(
    broker: SQSBroker, run: Drive, counter: CallCounter, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("work.fifo")
    counter.fail_next("SendMessageBatch", "reset_after")
    [answer] = run(broker.send(queue, [Outgoing(body="x")]))
    assert isinstance(answer, Sent)
    [delivery] = take(run, broker, queue, 1)
    assert delivery.message_id == answer.message_id
    assert delivery.group == "default"
    assert receive_now(run, broker, queue) == []


@pytest.mark.parametrize("fault", ["throttle", "server_error", "reset_before", "expired_token"])
def test_every_operation_survives_a_fault(
    broker: SQSBroker, run: Drive, counter: CallCounter, make_queue: Callable[..., str], fault: Fault
) -> None:
    queue = _with_dead_letter_queue(make_queue, "work")
    for operation in (
        "GetQueueUrl",
        "SendMessageBatch",
        "ReceiveMessage",
        "ChangeMessageVisibilityBatch",
        "DeleteMessageBatch",
        "GetQueueAttributes",
        "PurgeQueue",
    ):
        counter.fail_next(operation, fault)
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    assert run(broker.extend([delivery], LEASE_SECONDS)) == [None]
    assert run(broker.settle([DeadLetter(delivery, "why")])) == [None]
    assert run(broker.depth(dead_letter_queue(queue))).waiting == 1
    run(broker.purge(dead_letter_queue(queue)))
    assert run(broker.depth(dead_letter_queue(queue))).waiting == 0


def test_missing_queue_error_has_the_command_that_creates_it(counter: CallCounter, run: Drive) -> None:
    broker = SQSBroker(SQSOptions(region=REGION, prefix="shop-", endpoint_url=counter.endpoint_url))
    with pytest.raises(QueueNotFound) as caught:
        run(broker.send("none.fifo", [Outgoing(body="x")]))
    assert "'shop-none.fifo' does not exist in eu-west-1" in str(caught.value)
    assert "aws sqs create-queue --queue-name shop-none.fifo --attributes FifoQueue=true --region eu-west-1" in str(
        caught.value
    )
    assert counter.counts() == {"GetQueueUrl": 1}


def test_queue_of_another_region_is_missing(counter: CallCounter, make_queue: Callable[..., str]) -> None:
    broker = SQSBroker(SQSOptions(region="us-west-2", endpoint_url=counter.endpoint_url))
    with driving("sync", broker.services) as run, pytest.raises(QueueNotFound, match="does not exist in us-west-2"):
        run(broker.receive(make_queue(), 1, 0, LEASE_SECONDS))


def test_unreachable_endpoint_is_named_in_the_error(aws_environment: dict[str, str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint_url = f"http://127.0.0.1:{held.getsockname()[1]}"
        broker = SQSBroker(SQSOptions(region=REGION, endpoint_url=endpoint_url))
        expected = rf"queue 'work': no answer from {endpoint_url} to sqs:GetQueueUrl"
        with driving("sync", broker.services) as run, pytest.raises(Unreachable, match=expected):
            run(broker.send("work", [Outgoing(body="x")]))


def test_dead_letter_without_a_dead_letter_queue_stays_in_its_queue(
    broker: SQSBroker, run: Drive, counter: CallCounter, make_queue: Callable[..., str]
) -> None:
    queue = make_queue()
    run(broker.send(queue, [Outgoing(body="dead"), Outgoing(body="done")]))
    deliveries = {each.body: each for each in take(run, broker, queue, 2)}

    refused, done = run(broker.settle([DeadLetter(deliveries["dead"], "why"), Acknowledge(deliveries["done"])]))

    assert done is None
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, QueueNotFound)
    assert dead_letter_queue(queue) in str(refused.error)
    assert run(broker.depth(queue)).in_flight == 1


def test_deliveries_of_several_queues_are_settled_together(
    broker: SQSBroker, run: Drive, counter: CallCounter, make_queue: Callable[..., str]
) -> None:
    names = [make_queue(), make_queue()]
    held = []
    for name in names:
        run(broker.send(name, [Outgoing(body="x"), Outgoing(body="y")]))
        held += take(run, broker, name, 2)
    counter.reset()
    settlements = [held[0], held[2], held[1], held[3]]
    assert run(broker.settle([Acknowledge(each) for each in settlements])) == [None] * 4
    assert counter.counts() == {"DeleteMessageBatch": 2}
    assert [run(broker.depth(name)).in_flight for name in names] == [0, 0]
