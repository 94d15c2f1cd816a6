"""What only Pub/Sub does: calls counted, attempts, exactly-once answers, faults, delays, wrong configurations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from taskq_cloud import TaskQ
from taskq_cloud.brokers._pubsub_options import Place, PubSubOptions
from taskq_cloud.brokers.pubsub import PubSubBroker
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Refused, Release, Sent
from taskq_cloud.core.ports import dead_letter_queue
from taskq_cloud.errors import (
    AccessDenied,
    DelayTooLong,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    Unreachable,
)
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS, bodies, receive_now, take, until
from taskq_cloud.testing.driving import Drive, driving
from tests.brokers.conftest import PROJECT
from tests.brokers.pubsub_server import PubSubServer

MakeQueue = Callable[..., str]
TASKS_QUEUE = f"projects/{PROJECT}/locations/europe-west1/queues/later"
TEN_MEGABYTES = 10_000_000


@pytest.fixture
def broker(pubsub_server: PubSubServer) -> PubSubBroker:
    return PubSubBroker(PubSubOptions(project=PROJECT))


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, broker: PubSubBroker) -> Iterator[Drive]:
    with driving(request.param, broker.services) as drive:
        yield drive


# -- calls


def test_a_thousand_messages_take_a_call_each_way(broker, run, pubsub_server, make_pubsub_queue):
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


def test_a_batch_is_cut_by_its_bytes(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    sent = run(broker.send(queue, [Outgoing(body="x" * 3_000_000) for _ in range(7)]))
    assert all(isinstance(each, Sent) for each in sent)
    assert pubsub_server.calls == {"Publish": 3}


def test_what_is_released_for_as_long_goes_in_one_call(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    run(broker.send(queue, [Outgoing(body=str(number)) for number in range(6)]))
    deliveries = take(run, broker, queue, 6)
    pubsub_server.calls.clear()
    run(broker.settle([Release(each, 30 * (number % 2)) for number, each in enumerate(deliveries)]))
    assert pubsub_server.calls == {"ModifyAckDeadline": 2}
    assert len(receive_now(run, broker, queue)) == 3


def test_a_push_is_settled_by_its_answer(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    run(broker.send(queue, [Outgoing(body="x")]))
    pushed = replace(take(run, broker, queue, 1)[0], pushed=True)
    pubsub_server.calls.clear()
    assert run(broker.settle([Acknowledge(pushed), Release(pushed), DeadLetter(pushed, "why")])) == [None] * 3
    assert run(broker.extend([pushed], LEASE_SECONDS)) == [None]
    assert pubsub_server.calls == {"ListTopicSubscriptions": 1, "Publish": 1}


def test_a_scheduler_publishes_to_the_topic_which_has_to_keep_what_it_gets(
    broker, run, pubsub_server, make_pubsub_queue
):
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


def test_pubsub_itself_dead_letters_after_the_last_attempt(broker, run, make_pubsub_queue):
    queue = make_pubsub_queue(max_delivery_attempts=5)
    run(broker.send(queue, [Outgoing(body="poison")]))
    for attempt in range(1, 6):
        [delivery] = take(run, broker, queue, 1)
        assert (delivery.receive_count, delivery.counted) == (attempt, True)
        run(broker.settle([Release(delivery)]))
    assert receive_now(run, broker, queue) == []
    [dead] = take(run, broker, dead_letter_queue(queue), 1)
    assert dead.body == "poison"


def test_without_a_dead_letter_policy_nothing_is_counted_and_the_log_says_so(broker, run, make_pubsub_queue, caplog):
    queue = make_pubsub_queue(dead_letter_topic="", ttl_seconds=31 * 86_400)
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    assert (delivery.receive_count, delivery.counted, delivery.redelivered) == (1, False, True)
    assert "has no dead-letter policy" in caplog.text
    assert "is deleted, messages and all, when nobody receives from it for 31 days" in caplog.text


def test_an_acknowledgement_that_may_pass_the_next_time_is_sent_again(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue(exactly_once=True)
    run(broker.send(queue, [Outgoing(body="x"), Outgoing(body="y")]))
    deliveries = take(run, broker, queue, 2)
    answer = {deliveries[0].receipt: "TRANSIENT_FAILURE_OTHER"}
    pubsub_server.fail_next("Acknowledge", "FAILED_PRECONDITION", **answer)
    assert run(broker.settle([Acknowledge(each) for each in deliveries])) == [None, None]
    assert pubsub_server.calls["Acknowledge"] == 2
    assert pubsub_server.left(queue) == 0


def test_what_was_lost_while_it_was_leased_is_not_handed_over(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue(exactly_once=True)
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    run(broker.settle([Release(delivery)]))
    lost = {f"{delivery.message_id}-2-{queue}": "PERMANENT_FAILURE_INVALID_ACK_ID"}
    pubsub_server.fail_next("ModifyAckDeadline", "FAILED_PRECONDITION", **lost)
    assert run(broker.receive(queue, 1, 5, LEASE_SECONDS)) == []


# -- faults


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAUTHENTICATED"])
def test_every_operation_outlives_a_fault(broker, run, pubsub_server, make_pubsub_queue, code):
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


def test_an_ambiguous_publish_is_made_again(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    pubsub_server.fail_next("Publish", "UNAVAILABLE", after=True)
    [answer] = run(broker.send(queue, [Outgoing(body="x")]))
    assert isinstance(answer, Sent)
    assert bodies(take(run, broker, queue, 2)) == ["x", "x"]


def test_on_an_ordered_queue_nothing_overtakes_what_was_not_sent(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue("work.fifo")
    pubsub_server.denied.add("Publish")
    with pytest.raises(AccessDenied, match=r"pubsub\.topics\.publish was denied"):
        run(broker.send(queue, [Outgoing(body="x" * 6_000_000), Outgoing(body="y" * 6_000_000)]))
    assert pubsub_server.calls == {"Publish": 1}


def test_nobody_there_is_told_by_every_call(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    pubsub_server.stop()
    for flow in (broker.send(queue, [Outgoing(body="x")]), broker.receive(queue, 1, 1, LEASE_SECONDS)):
        with pytest.raises(Unreachable, match=f"queue '{queue}': no answer from Pub/Sub"):
            run(flow)
    [refused] = run(broker.settle([Acknowledge(delivery)]))
    assert isinstance(refused.error, Unreachable)
    pubsub_server.start()
    until(lambda: run(broker.settle([Acknowledge(delivery)])) == [None])


# -- what is configured wrongly


def test_a_wrong_project_is_named(pubsub_server):
    broker = PubSubBroker(PubSubOptions(project="other-project"))
    with driving("sync", broker.services) as run:
        for flow in (broker.send("work", [Outgoing(body="x")]), broker.receive("work", 1, 0, LEASE_SECONDS)):
            with pytest.raises(OperationalError, match="there is no project 'other-project' for these credentials"):
                run(flow)


def test_a_missing_subscription_is_an_error_with_the_command_that_makes_it(broker, run, pubsub_server):
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
        (_pushed, r"is pushed to https://shop\.example\.com/push: a worker needs one that is pulled"),
        (_without_topic, r"has lost its topic, which was deleted"),
    ],
)
def test_a_subscription_that_is_none_of_the_queues_is_refused(broker, run, pubsub_server, make, expected):
    make(pubsub_server)
    for _ in range(2):  # and not only the first time
        with pytest.raises(ImproperlyConfigured, match=expected):
            run(broker.receive("work", 1, 0, LEASE_SECONDS))
    assert "Pull" not in pubsub_server.calls


def test_an_ordered_queue_needs_a_subscription_that_keeps_order(broker, run, make_pubsub_queue):
    queue = make_pubsub_queue("work.fifo", ordered=False)
    with pytest.raises(ImproperlyConfigured, match="--enable-message-ordering"):
        run(broker.receive(queue, 1, 0, LEASE_SECONDS))


def test_what_may_not_be_looked_at_is_trusted(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    pubsub_server.denied.update({"GetSubscription", "ListTopicSubscriptions"})
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    assert run(broker.settle([DeadLetter(delivery, "why")])) == [None]
    assert pubsub_server.left(dead_letter_queue(queue)) == 1


def test_a_dead_letter_that_no_subscription_would_keep_stays_where_it_is(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    dead = pubsub_server.state.subscriptions.pop(f"projects/{PROJECT}/subscriptions/{dead_letter_queue(queue)}")
    run(broker.send(queue, [Outgoing(body="x")]))
    [delivery] = take(run, broker, queue, 1)
    [refused] = run(broker.settle([DeadLetter(delivery, "why")]))
    assert isinstance(refused, Refused)
    assert f"without one, topic {dead.topic} keeps no message" in str(refused.error)
    assert pubsub_server.left(queue) == 1


def test_without_credentials_the_error_says_where_they_come_from(broker, monkeypatch, tmp_path):
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


def test_without_an_emulator_the_channel_is_secure_and_the_credentials_are_googles(
    pubsub_server, monkeypatch, tmp_path
):
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
        # The server speaks no TLS, which is how we know that the client does.
        with driving(colour, broker.services) as run, pytest.raises(Unreachable, match=r"(?i)ssl|tls|handshake"):
            run(broker.send("work", [Outgoing(body="x")]))
    assert not pubsub_server.calls


def test_a_byte_over_ten_megabytes_is_refused_before_it_is_sent(broker, run, pubsub_server, make_pubsub_queue):
    queue = make_pubsub_queue()
    [refused] = run(broker.send(queue, [Outgoing(body="x" * (TEN_MEGABYTES + 1))]))
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
def test_attributes_that_pubsub_does_not_take(broker, run, make_pubsub_queue, attributes, expected):
    [refused, sent] = run(
        broker.send(make_pubsub_queue(), [Outgoing(body="x", attributes=attributes), Outgoing(body="y")])
    )
    assert expected in str(refused.error)
    assert isinstance(sent, Sent)


def test_a_name_that_pubsub_does_not_take(broker, run):
    with pytest.raises(ImproperlyConfigured, match="'1work' can't be the name of a topic"):
        run(broker.send("1work", [Outgoing(body="x")]))


def test_queues_may_be_elsewhere(pubsub_server):
    subscription = pubsub_server.make_queue("orders-v2")
    place = Place(subscription.topic, subscription.name)
    broker = PubSubBroker(PubSubOptions(project=PROJECT, prefix="shop-", places={"work": place}))
    with driving("sync", broker.services) as run:
        run(broker.send("work", [Outgoing(body="x")]))
        assert bodies(take(run, broker, "work", 1)) == ["x"]
    assert broker.queue_named(subscription.name) == "work"
    assert broker.queue_named(f"projects/{PROJECT}/subscriptions/shop-mail") == "mail"


# -- what is due later


@pytest.fixture
def app(pubsub_server: PubSubServer, tmp_path: Path) -> Iterator[TaskQ]:
    pubsub_server.make_queue("shop-celery")
    app = TaskQ("shop", broker=f"pubsub://{PROJECT}/shop-", results=f"sqlite:///{tmp_path}/results.db")
    app.task(name="notify")(lambda: None)
    yield app
    app.close()


@pytest.fixture
def app_with_tasks(pubsub_server: PubSubServer, app: TaskQ) -> Iterator[TaskQ]:
    pubsub_server.task_queues.add(TASKS_QUEUE)
    options = {"cloud_tasks_queue": TASKS_QUEUE, "cloud_tasks_service_account": "later@example.com"}
    other = TaskQ("shop", broker=app.conf.broker, results="disabled://", broker_transport_options=options)
    other.task(name="notify")(lambda: None)
    yield other
    other.close()


def test_up_to_ten_minutes_the_receivers_park_it(app, pubsub_server):
    app.tasks["notify"].apply_async(countdown=600)
    assert pubsub_server.left("shop-celery") == 1


def test_later_than_that_is_an_error_at_the_call(app, pubsub_server):
    with pytest.raises(
        DelayTooLong, match=r"queue 'celery' holds a message back for at most 600 s: .*cloud_tasks_queue"
    ):
        app.tasks["notify"].apply_async(countdown=3600)
    with pytest.raises(DelayTooLong):
        app.tasks["notify"].apply_async(eta=datetime.now(UTC) + timedelta(days=2))
    assert pubsub_server.left("shop-celery") == 0


def test_cloud_tasks_publishes_it_when_it_is_due(app_with_tasks, pubsub_server):
    app_with_tasks.tasks["notify"].apply_async(countdown=3600, message_attributes={"tenant": "a"})
    app_with_tasks.tasks["notify"].apply_async(countdown=60)
    [task] = pubsub_server.tasks
    assert task.http_request.url == f"https://pubsub.googleapis.com/v1/projects/{PROJECT}/topics/shop-celery:publish"
    assert task.http_request.oauth_token.service_account_email == "later@example.com"
    assert json.loads(task.http_request.body)["messages"][0]["attributes"] == {"tenant": "a"}

    broker = app_with_tasks.broker
    [soon] = app_with_tasks.run(broker.receive("celery", 10, 1, LEASE_SECONDS))
    app_with_tasks.run(broker.settle([Acknowledge(soon)]))
    pubsub_server.advance(3601)
    [due] = app_with_tasks.run(broker.receive("celery", 10, 5, LEASE_SECONDS))
    assert due.attributes == {"tenant": "a"}


def test_on_an_ordered_queue_it_comes_to_the_end_of_its_group(app_with_tasks, pubsub_server):
    pubsub_server.make_queue("shop-work.fifo", ordered=True)
    broker = app_with_tasks.broker

    def received(wait_seconds):
        found = app_with_tasks.run(broker.receive("work.fifo", 10, wait_seconds, LEASE_SECONDS))
        app_with_tasks.run(broker.settle([Acknowledge(each) for each in found]))
        return [(json.loads(each.body)["headers"]["id"], each.group) for each in found]

    for task_id, seconds in (("later", 3600), ("now", None)):
        options = {"queue": "work.fifo", "MessageGroupId": "a", "task_id": task_id, "countdown": seconds}
        app_with_tasks.tasks["notify"].apply_async(**options)
    assert received(1) == [("now", "a")]
    pubsub_server.advance(3601)
    assert received(5) == [("later", "a")]


def test_without_cloud_tasks_an_ordered_queue_has_no_later(app):
    with pytest.raises(DelayTooLong, match=r"queue 'work\.fifo' .*: longer takes Cloud Tasks: set cloud_tasks_queue"):
        app.tasks["notify"].apply_async(countdown=3600, queue="work.fifo")


def test_a_cloud_tasks_queue_that_is_missing_is_named(app_with_tasks, pubsub_server):
    pubsub_server.task_queues.clear()
    with pytest.raises(OperationalError, match=f"{TASKS_QUEUE}, which does not exist"):
        app_with_tasks.tasks["notify"].apply_async(countdown=3600)


def test_cloud_tasks_takes_less_than_pubsub(app_with_tasks, pubsub_server):
    with pytest.raises(PayloadTooLarge, match="held by Cloud Tasks"):
        app_with_tasks.send_task("notify", ["x" * 900_000], countdown=3600)
