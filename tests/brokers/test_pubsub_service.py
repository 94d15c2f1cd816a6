"""Tests of the Pub/Sub broker: numbers of calls, attempts, exactly-once answers, faults, wrong configurations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from taskq_cloud.brokers._pubsub_options import PubSubLocation, PubSubOptions
from taskq_cloud.brokers.pubsub import PubSubBroker
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Refused, Release, Sent
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    Unreachable,
)
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS, bodies, receive_now, take
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.brokers.conftest import PROJECT
from tests.brokers.pubsub_server import PubSubServer

TEN_MEGABYTES = 10_000_000


@pytest.fixture
def broker(pubsub_server: PubSubServer) -> PubSubBroker:
    return PubSubBroker(PubSubOptions(project=PROJECT))


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, broker: PubSubBroker) -> Iterator[Drive]:
    with driving(request.param, broker.services) as drive:
        yield drive


# -- calls


def test_thousand_messages_take_one_call_each_way(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    sent = run(broker.send(queue, [Outgoing(body=str(number)) for number in range(2500)]))
    assert all(isinstance(each, Sent) for each in sent)
    assert pubsub_server.calls == {"Publish": 3}

    deliveries = [each for _ in range(3) for each in run(broker.receive(queue, 1000, 5, LEASE_SECONDS))]
    assert sorted(bodies(deliveries), key=int) == [str(number) for number in range(2500)]
    pubsub_server.calls.clear()
    assert run(broker.extend(deliveries, LEASE_SECONDS)) == [None] * 2500
    assert run(broker.settle([Acknowledge(each) for each in deliveries])) == [None] * 2500
    assert pubsub_server.calls == {"ModifyAckDeadline": 3, "Acknowledge": 3}
    assert pubsub_server.left(queue) == 0


def test_batch_is_divided_by_size(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    sent = run(broker.send(queue, [Outgoing(body="x" * 3_000_000) for _ in range(7)]))
    assert all(isinstance(each, Sent) for each in sent)
    assert pubsub_server.calls == {"Publish": 3}


def test_releases_for_equal_times_share_a_call(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    run(broker.send(queue, [Outgoing(body=str(number)) for number in range(6)]))
    deliveries = take(run, broker, queue, 6)
    pubsub_server.calls.clear()
    run(broker.settle([Release(each, 30 * (number % 2)) for number, each in enumerate(deliveries)]))
    assert pubsub_server.calls == {"ModifyAckDeadline": 2}
    assert len(receive_now(run, broker, queue)) == 3


def test_pushed_delivery_is_settled_without_a_call(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    run(broker.send(queue, [Outgoing(body="x")]))
    pushed = replace(take(run, broker, queue, 1)[0], pushed=True)
    pubsub_server.calls.clear()
    assert run(broker.settle([Acknowledge(pushed), Release(pushed), DeadLetter(pushed, "why")])) == [None] * 3
    assert run(broker.extend([pushed], LEASE_SECONDS)) == [None]
    assert pubsub_server.calls == {"ListTopicSubscriptions": 1, "Publish": 1}


def test_schedulers_target_is_a_topic_with_a_subscription(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    assert run(broker.target_of(queue)) == f"projects/{PROJECT}/topics/{queue}"
    with pytest.raises(QueueNotFound, match="gcloud pubsub topics create projects/test-project/topics/none"):
        run(broker.target_of("none"))
    pubsub_server.make_topic("unheard")
    with pytest.raises(QueueNotFound, match="topic projects/test-project/topics/unheard keeps no message"):
        run(broker.target_of("unheard"))
    pubsub_server.denied.add("ListTopicSubscriptions")
    assert run(broker.target_of("unheard")) == f"projects/{PROJECT}/topics/unheard"


# -- attempts and exactly-once


def test_pubsub_dead_letters_after_the_last_attempt(
    broker: PubSubBroker, run: Drive, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue(max_delivery_attempts=5)
    run(broker.send(queue, [Outgoing(body="poison")]))
    for attempt in range(1, 6):
        [delivery] = take(run, broker, queue, 1)
        assert (delivery.receive_count, delivery.counted) == (attempt, True)
        run(broker.settle([Release(delivery)]))
    assert receive_now(run, broker, queue) == []
    [dead] = take(run, broker, dead_letter_queue(queue), 1)
    assert dead.body == "poison"


def test_missing_dead_letter_policy_is_logged_and_receives_are_not_counted(
    broker: PubSubBroker, run: Drive, make_pubsub_queue: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    queue = make_pubsub_queue(dead_letter_topic="", ttl_seconds=31 * 86_400)
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    assert (delivery.receive_count, delivery.counted, delivery.redelivered) == (1, False, True)
    assert "has no dead-letter policy" in caplog.text
    assert "is deleted with its messages after 31 days" in caplog.text


def test_acknowledgement_with_a_transient_failure_is_sent_again(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue(exactly_once=True)
    run(broker.send(queue, [Outgoing(body="x"), Outgoing(body="y")]))
    deliveries = take(run, broker, queue, 2)
    answer = {deliveries[0].receipt: "TRANSIENT_FAILURE_OTHER"}
    pubsub_server.fail_next("Acknowledge", "FAILED_PRECONDITION", details=answer)
    assert run(broker.settle([Acknowledge(each) for each in deliveries])) == [None, None]
    assert pubsub_server.calls["Acknowledge"] == 2
    assert pubsub_server.left(queue) == 0


def test_message_lost_while_it_is_leased_is_not_delivered(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue(exactly_once=True)
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    run(broker.settle([Release(delivery)]))
    lost = {f"{delivery.message_id}-2-{queue}": "PERMANENT_FAILURE_INVALID_ACK_ID"}
    pubsub_server.fail_next("ModifyAckDeadline", "FAILED_PRECONDITION", details=lost)
    assert run(broker.receive(queue, 1, 5, LEASE_SECONDS)) == []


# -- faults


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAUTHENTICATED"])
def test_every_operation_survives_a_fault(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str], code: str
) -> None:
    queue = make_pubsub_queue()
    methods = (
        "Publish",
        "GetSubscription",
        "Pull",
        "ModifyAckDeadline",
        "Acknowledge",
        "ListTopicSubscriptions",
        "Seek",
    )
    for method in methods:
        pubsub_server.fail_next(method, code)
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    assert run(broker.extend([delivery], LEASE_SECONDS)) == [None]
    assert run(broker.settle([DeadLetter(delivery, "why")])) == [None]
    run(broker.purge(dead_letter_queue(queue)))
    assert pubsub_server.left(dead_letter_queue(queue)) == 0


def test_publish_with_lost_answer_is_repeated(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    pubsub_server.fail_next("Publish", "UNAVAILABLE", after=True)
    [answer] = run(broker.send(queue, [Outgoing(body="x")]))
    assert isinstance(answer, Sent)
    assert bodies(take(run, broker, queue, 2)) == ["x", "x"]


def test_failed_publish_to_an_ordered_queue_stops_the_later_ones(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue("work.fifo")
    pubsub_server.denied.add("Publish")
    with pytest.raises(AccessDenied, match=r"pubsub\.topics\.publish was denied"):
        run(broker.send(queue, [Outgoing(body="x" * 6_000_000), Outgoing(body="y" * 6_000_000)]))
    assert pubsub_server.calls == {"Publish": 1}


def test_unreachable_service_is_an_error_of_every_call(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    pubsub_server.stop()
    for flow in (broker.send(queue, [Outgoing(body="x")]), broker.receive(queue, 1, 1, LEASE_SECONDS)):
        with pytest.raises(Unreachable, match=f"queue '{queue}': no answer from Pub/Sub"):
            run(flow)
    [refused] = run(broker.settle([Acknowledge(delivery)]))
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, Unreachable)
    pubsub_server.start()
    until(lambda: run(broker.settle([Acknowledge(delivery)])) == [None])


# -- wrong configurations


def test_wrong_project_is_named_in_the_error(pubsub_server: PubSubServer) -> None:
    broker = PubSubBroker(PubSubOptions(project="other-project"))
    with driving("sync", broker.services) as run:
        for flow in (broker.send("work", [Outgoing(body="x")]), broker.receive("work", 1, 0, LEASE_SECONDS)):
            with pytest.raises(OperationalError, match="there is no project 'other-project' for these credentials"):
                run(flow)


def test_missing_subscription_error_has_the_command_that_creates_it(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer
) -> None:
    pubsub_server.make_topic("alone")
    with pytest.raises(QueueNotFound) as caught:
        run(broker.receive("alone", 1, 0, LEASE_SECONDS))
    assert f"subscription projects/{PROJECT}/subscriptions/alone does not exist" in str(caught.value)
    assert f"gcloud pubsub subscriptions create projects/{PROJECT}/subscriptions/alone --topic" in str(caught.value)
    assert "--expiration-period never" in str(caught.value)
    with pytest.raises(QueueNotFound, match=r"gcloud pubsub topics create .*--enable-message-ordering"):
        run(broker.send("none.fifo", [Outgoing(body="x")]))


def _attached_elsewhere(server: PubSubServer) -> None:
    server.make_queue("work").topic = server.make_topic("billing")


def _pushed(server: PubSubServer) -> None:
    server.make_queue("work", push_endpoint="https://shop.example.com/push")


def _without_topic(server: PubSubServer) -> None:
    server.make_queue("work").topic = "_deleted-topic_"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            _attached_elsewhere,
            r"is attached to .*/topics/billing, but the queue's messages are published to .*/topics/work",
        ),
        (_pushed, r"is pushed to https://shop\.example\.com/push: a worker needs a pull subscription"),
        (_without_topic, r"has lost its topic, which was deleted"),
    ],
)
def test_unsuitable_subscription_is_refused(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make: Callable[[PubSubServer], None], expected: str
) -> None:
    make(pubsub_server)
    for _ in range(2):  # a failed check is repeated
        with pytest.raises(ImproperlyConfigured, match=expected):
            run(broker.receive("work", 1, 0, LEASE_SECONDS))
    assert "Pull" not in pubsub_server.calls


def test_ordered_queues_unordered_subscription_is_refused(
    broker: PubSubBroker, run: Drive, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue("work.fifo", ordered=False)
    with pytest.raises(ImproperlyConfigured, match="--enable-message-ordering"):
        run(broker.receive(queue, 1, 0, LEASE_SECONDS))


def test_subscription_that_cannot_be_checked_is_trusted(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    pubsub_server.denied.update({"GetSubscription", "ListTopicSubscriptions"})
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    assert run(broker.settle([DeadLetter(delivery, "why")])) == [None]
    assert pubsub_server.left(dead_letter_queue(queue)) == 1


def test_dead_letter_for_a_topic_without_a_subscription_stays_in_its_queue(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    dead = pubsub_server.state.subscriptions.pop(f"projects/{PROJECT}/subscriptions/{dead_letter_queue(queue)}")
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    [refused] = run(broker.settle([DeadLetter(delivery, "why")]))
    assert isinstance(refused, Refused)
    assert f"without one, topic {dead.topic} keeps no message" in str(refused.error)
    assert pubsub_server.left(queue) == 1


def test_missing_credentials_error_says_where_to_put_them(
    broker: PubSubBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for colour in ("sync", "async"):
        with (
            driving(colour, broker.services) as run,
            pytest.raises(AccessDenied, match="gcloud auth application-default"),
        ):
            run(broker.send("work", [Outgoing(body="x")]))


def test_channel_without_an_emulator_uses_tls_and_googles_credentials(
    pubsub_server: PubSubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"type": "service_account", "client_email": "shop@example.com", "private_key": pem}
    account["token_uri"] = f"http://{pubsub_server.host}/token"
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    broker = PubSubBroker(PubSubOptions(project=PROJECT, endpoint=pubsub_server.host))
    for colour in ("sync", "async"):
        # The server doesn't speak TLS, so the error shows that the client does.
        with driving(colour, broker.services) as run, pytest.raises(Unreachable, match=r"(?i)ssl|tls|handshake"):
            run(broker.send("work", [Outgoing(body="x")]))
    assert not pubsub_server.calls


def test_message_over_ten_megabytes_is_refused_before_sending(
    broker: PubSubBroker, run: Drive, pubsub_server: PubSubServer, make_pubsub_queue: Callable[..., str]
) -> None:
    queue = make_pubsub_queue()
    [refused] = run(broker.send(queue, [Outgoing(body="x" * (TEN_MEGABYTES + 1))]))
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, PayloadTooLarge)
    assert "10000001 bytes" in str(refused.error)
    assert "Publish" not in pubsub_server.calls


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"googled": "x"}, "can't be called 'googled'"),
        ({"long": "x" * 1025}, "'long' has 1025 bytes"),
        ({str(number): "x" for number in range(101)}, "101 attributes"),
    ],
)
def test_illegal_attribute_is_refused(
    broker: PubSubBroker, run: Drive, make_pubsub_queue: Callable[..., str], attributes: dict[str, str], expected: str
) -> None:
    [refused, sent] = run(
        broker.send(make_pubsub_queue(), [Outgoing(body="x", attributes=attributes), Outgoing(body="y")])
    )
    assert isinstance(refused, Refused)
    assert expected in str(refused.error)
    assert isinstance(sent, Sent)


def test_illegal_topic_name_is_refused(broker: PubSubBroker, run: Drive) -> None:
    with pytest.raises(ImproperlyConfigured, match="'1work' can't be the name of a topic"):
        run(broker.send("1work", [Outgoing(body="x")]))


def test_predefined_queue_uses_its_own_location(pubsub_server: PubSubServer) -> None:
    subscription = pubsub_server.make_queue("orders-v2")
    location = PubSubLocation(subscription.topic, subscription.name)
    broker = PubSubBroker(PubSubOptions(project=PROJECT, prefix="shop-", locations={"work": location}))
    with driving("sync", broker.services) as run:
        run(broker.send("work", [Outgoing(body="x")]))
        assert bodies(take(run, broker, "work", 1)) == ["x"]
    assert broker.queue_named(subscription.name) == "work"
    assert broker.queue_named(f"projects/{PROJECT}/subscriptions/shop-mail") == "mail"
