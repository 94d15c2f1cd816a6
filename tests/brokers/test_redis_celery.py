"""Celery's layout on Redis, on a real server: the contract, and real kombu on the other side."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud.brokers._redis_celery import CeleryRedisBroker
from taskq_cloud.core.flows import Call
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
)
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import AccessDenied, Unreachable
from taskq_cloud.testing import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive, driving

kombu = pytest.importorskip("kombu")
pytestmark = pytest.mark.slow

QUEUE = "work"
LEASE_SECONDS = 60
TIMEOUT_SECONDS = 3600


@pytest.fixture
def clock() -> FakeClock:
    """A clock that begins now, as kombu has no other."""
    return FakeClock(time.time())


@pytest.fixture
def options() -> dict[str, Any]:
    return {"global_keyprefix": f"{uuid4().hex}:"}


class TestCeleryLayout(BrokerContract):
    @pytest.fixture
    def broker(self, server_url: Callable[[str], str], options: dict[str, Any], clock: FakeClock) -> CeleryRedisBroker:
        return CeleryRedisBroker([server_url("redis")], options, clock)

    @pytest.fixture
    def queue(self) -> str:
        return QUEUE

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance


@pytest.fixture
def broker(server_url: Callable[[str], str], options: dict[str, Any], clock: FakeClock) -> CeleryRedisBroker:
    return CeleryRedisBroker([server_url("redis")], options, clock)


@pytest.fixture
def run(broker: CeleryRedisBroker) -> Iterator[Drive]:
    with driving("sync", broker.services) as drive:
        yield drive


@pytest.fixture
def connection(server_url: Callable[[str], str], options: dict[str, Any]) -> Iterator[Any]:
    """A connection of kombu's to the same keys."""
    with kombu.Connection(server_url("redis"), transport_options=options) as opened:
        yield opened


@pytest.fixture
def channel(connection: Any) -> Any:
    """A channel of kombu's, on which the queue is declared."""
    opened = connection.channel()
    kombu.Queue(QUEUE, kombu.Exchange(QUEUE), QUEUE)(opened).declare()
    return opened


@pytest.fixture
def keys(broker: CeleryRedisBroker, run: Drive, options: dict[str, Any]) -> Callable[..., Any]:
    """A function that runs a command of Redis on a key."""
    [service] = broker.services

    def ask(name: str, key: str, *parts: Any) -> Any:
        def flow() -> Any:
            prefixed = options["global_keyprefix"] + key
            [answer] = yield Call(service, "commands", {"commands": [[name, prefixed, *parts]]})
            return answer

        return run(flow())

    return ask


def publish(connection: Any, number: int = 1, **options: Any) -> None:
    """Publish a message as Celery does: with the body of protocol 2."""
    headers = {"lang": "py", "task": "shop.add", "id": str(uuid4()), "eta": None, "expires": None}
    headers |= options.pop("headers", {})
    placed = {"exchange": "", "routing_key": QUEUE, "correlation_id": headers["id"]}
    connection.Producer().publish([[number, "ü"], {}, {}], headers=headers, **{**placed, **options})


def receive(run: Drive, broker: CeleryRedisBroker, limit: int = 10) -> list[Delivery]:
    return run(broker.receive(QUEUE, limit, 0, LEASE_SECONDS))


def arguments(body: str) -> Any:
    """The arguments in a message whose body is in base64."""
    return json.loads(base64.b64decode(json.loads(body)["body"]))[0]


# -- what is written


@pytest.mark.parametrize("priority", [None, *range(10)])
def test_message_is_written_as_kombu_writes_it(
    broker: CeleryRedisBroker,
    run: Drive,
    connection: Any,
    keys: Callable[..., Any],
    priority: int | None,
) -> None:
    publish(connection, priority=priority)
    step = max(step for step in (0, 3, 6, 9) if step <= (priority or 0))
    key = f"{QUEUE}\x06\x16{step}" if step else QUEUE
    [theirs] = keys("LRANGE", key, 0, -1)
    document = json.loads(theirs)
    document["body"] = base64.b64decode(document["body"]).decode()
    tag = document["properties"].pop("delivery_tag")
    assert document["properties"].pop("body_encoding") == "base64"

    [sent] = run(broker.send(QUEUE, [Outgoing(body=json.dumps(document))]))

    ours, again = keys("LRANGE", key, 0, -1)
    assert again == theirs
    assert isinstance(sent, Sent)
    assert ours == theirs.replace(tag.encode(), sent.message_id.encode())


def test_received_message_is_kept_as_kombu_keeps_it(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any, keys: Callable[..., Any], clock: FakeClock
) -> None:
    publish(connection)
    message = kombu.Queue(QUEUE)(channel).get()
    [tag, theirs] = keys("HGETALL", "unacked")
    assert tag.decode() == message.delivery_tag
    message.requeue()

    [delivery] = receive(run, broker)

    [receipt, ours] = keys("HGETALL", "unacked")
    assert receipt.decode() == delivery.receipt
    document, *rest = json.loads(ours)
    redelivered = document["headers"].pop("redelivered"), document["properties"]["delivery_info"].pop("redelivered")
    assert redelivered == (True, True)
    assert (document.pop("taskq_receives"), document.pop("taskq_id")) == (1, message.delivery_tag)
    assert [document, *rest] == json.loads(theirs)
    [_, score] = keys("ZRANGE", "unacked_index", 0, -1, "WITHSCORES")
    assert float(score) == pytest.approx(clock() + LEASE_SECONDS - TIMEOUT_SECONDS, abs=0.01)


def test_queue_is_bound_as_kombu_binds_it(
    broker: CeleryRedisBroker, run: Drive, channel: Any, keys: Callable[..., Any]
) -> None:
    kombu.Queue("other", kombu.Exchange("other"), "other")(channel).declare()
    for table in ("_kombu.binding", "_kombu.binding_permanent"):
        theirs = keys("SMEMBERS", f"{table}.other")
        keys("DEL", f"{table}.other")
        broker._calls._bound.clear()
        assert run(broker.receive("other", 1, 0, LEASE_SECONDS)) == []
        assert keys("SMEMBERS", f"{table}.other") == theirs == [b"other\x06\x16\x06\x16other"]


@pytest.mark.parametrize(
    ("exchange", "routing_key"), [("celeryev", "worker.heartbeat"), ("celery.pidbox", ""), ("celeryev", "task.multi")]
)
def test_fanout_message_is_published_as_kombu_publishes_it(
    broker: CeleryRedisBroker, run: Drive, connection: Any, exchange: str, routing_key: str
) -> None:
    heard: list[tuple[Any, Any]] = []
    raw: list[Any] = []
    declared = kombu.Exchange(exchange, type="fanout")
    queue = kombu.Queue(f"heard-{uuid4().hex}", declared, routing_key and "#", auto_delete=True)
    body, headers = {"hostname": "me", "clock": 1, "timestamp": 1.5}, {"hostname": "me"}
    with connection.Consumer([queue], callbacks=[lambda body, message: heard.append((body, message))], no_ack=True):
        connection.drain_events(timeout=5)  # the answer to the subscription
        mode = 1 if exchange == "celeryev" else 2
        connection.Producer(connection.channel()).publish(
            body, routing_key=routing_key, exchange=declared, headers=headers, delivery_mode=mode
        )
        assert run(broker.publish(exchange, routing_key, body, headers)) == 1
        while len(heard) < 2:
            connection.drain_events(timeout=5)
    for _, message in heard:
        document = dict(message._raw)
        assert document["properties"].pop("delivery_tag")
        raw.append(json.dumps(document))
    assert raw[0] == raw[1]
    assert [each for each, _ in heard] == [body, body]


# -- what each side makes of the other's messages


def test_kombu_receives_and_settles_our_message(
    broker: CeleryRedisBroker, run: Drive, channel: Any, keys: Callable[..., Any]
) -> None:
    document: dict[str, Any] = {"body": "[]", "content-type": "application/json", "content-encoding": "utf-8"}
    document |= {"headers": {"task": "t"}, "properties": {"priority": 5, "delivery_info": {}}}
    run(broker.send(QUEUE, [Outgoing(body=json.dumps(document), attributes={"tenant": "a"})]))
    message = kombu.Queue(QUEUE)(channel).get()
    assert (message.decode(), message.headers) == ([], {"task": "t"})
    message.ack()
    assert run(broker.depth(QUEUE)) == Depth(0, 0, 0)
    assert keys("EXISTS", "unacked") == 0


def test_lost_lease_is_put_back_by_kombu_and_its_receipt_settles_nothing(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any, clock: FakeClock
) -> None:
    publish(connection, 7)
    clock.advance(-2 * LEASE_SECONDS)
    [lost] = receive(run, broker)
    clock.advance(2 * LEASE_SECONDS)

    channel.qos.restore_visible()
    taken = kombu.Queue(QUEUE)(channel).get()
    assert taken.headers["redelivered"] is True
    assert run(broker.settle([Acknowledge(lost)])) == [None]
    assert run(broker.settle([Release(lost)])) == [None]
    assert isinstance(run(broker.extend([lost], LEASE_SECONDS))[0], Refused)
    assert run(broker.depth(QUEUE)) == Depth(0, 0, 1)

    taken.requeue()
    [again] = receive(run, broker)
    assert (again.message_id, again.receive_count) == (lost.message_id, 2)
    assert arguments(again.body) == [7, "ü"]


def test_extended_lease_is_not_put_back_by_kombu(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any, clock: FakeClock
) -> None:
    publish(connection)
    clock.advance(-LEASE_SECONDS + 5)
    held = receive(run, broker)
    assert run(broker.extend(held, 2 * LEASE_SECONDS)) == [None]
    clock.advance(LEASE_SECONDS)
    channel.qos.restore_visible()
    assert kombu.Queue(QUEUE)(channel).get() is None
    assert run(broker.extend(held, LEASE_SECONDS)) == [None]


def test_message_that_a_worker_of_celerys_has_lost_is_put_back(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any, clock: FakeClock
) -> None:
    publish(connection, 3, priority=6)
    kombu.Queue(QUEUE)(channel).get()
    clock.advance(TIMEOUT_SECONDS - 10)
    assert receive(run, broker) == []
    clock.advance(20)
    [delivery] = receive(run, broker)
    assert (arguments(delivery.body), delivery.receive_count) == ([3, "ü"], 2)
    assert "redelivered" not in delivery.body  # it would go along with what follows the task


def test_message_of_a_topic_exchange_is_put_back_where_it_was(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any, clock: FakeClock
) -> None:
    exchange = kombu.Exchange("topics", type="topic")
    queue = kombu.Queue(QUEUE, exchange, "shop.#")(channel)
    queue.declare()
    publish(connection, exchange=exchange, routing_key="shop.add")
    assert queue.get() is not None
    clock.advance(TIMEOUT_SECONDS + 1)
    [delivery] = receive(run, broker)
    assert arguments(delivery.body) == [1, "ü"]


def test_priorities_are_received_in_kombus_order(broker: CeleryRedisBroker, run: Drive, connection: Any) -> None:
    for priority in (9, 4, 0, 7):
        publish(connection, priority, priority=priority)
    received = [arguments(each.body)[0] for _ in range(4) for each in receive(run, broker, 1)]
    assert received == [0, 4, 7, 9]


def test_released_message_is_marked_for_celery(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any
) -> None:
    publish(connection)
    for counts, marked in ((False, None), (True, True)):
        [delivery] = receive(run, broker)
        assert delivery.receive_count == 1
        run(broker.settle([Release(delivery, counts=counts)]))
        message = kombu.Queue(QUEUE)(channel).get()
        assert message.headers.get("redelivered") == marked
        message.channel.qos.reject(message.delivery_tag, requeue=True)
        if counts:
            assert [each.receive_count for each in receive(run, broker)] == [2]
        else:  # a message that Celery gives back is marked, too
            [again] = receive(run, broker)
            assert again.receive_count == 2
            run(broker.settle([Acknowledge(again)]))
            publish(connection)


# -- messages that are due later


def in_seconds(clock: FakeClock, seconds: float) -> str:
    return datetime.fromtimestamp(clock() + seconds, UTC).isoformat()


def test_early_message_is_kept_and_delivered_when_it_is_due(
    broker: CeleryRedisBroker, run: Drive, connection: Any, clock: FakeClock, keys: Callable[..., Any]
) -> None:
    publish(connection, 1, headers={"eta": in_seconds(clock, 100)})
    publish(connection, 2)
    publish(connection, 3, headers={"eta": in_seconds(clock, 200), "expires": in_seconds(clock, 50)})

    [punctual] = receive(run, broker)
    assert arguments(punctual.body)[0] == 2
    assert run(broker.depth(QUEUE)) == Depth(waiting=0, delayed=2, in_flight=1)
    assert keys("LLEN", QUEUE) == 0
    clock.advance(51)
    [expired] = receive(run, broker)
    assert arguments(expired.body)[0] == 3
    run(broker.settle([Acknowledge(punctual), Acknowledge(expired)]))
    clock.advance(48)
    assert receive(run, broker) == []
    clock.advance(1.1)
    [late] = receive(run, broker)
    assert arguments(late.body)[0] == 1
    assert (late.receive_count, "redelivered" in late.body) == (1, False)


def test_early_message_that_we_had_is_put_back_by_kombu_when_it_is_due(
    broker: CeleryRedisBroker, run: Drive, connection: Any, channel: Any, clock: FakeClock
) -> None:
    clock.advance(-100)
    publish(connection, 1, headers={"eta": in_seconds(clock, 100.5)})
    publish(connection, 2, headers={"eta": in_seconds(clock, 99)})
    assert receive(run, broker) == []
    channel.qos.restore_visible()
    message = kombu.Queue(QUEUE)(channel).get()
    assert message.decode()[0][0] == 2
    assert kombu.Queue(QUEUE)(channel).get() is None


@pytest.mark.parametrize(("ahead", "waits_in_list"), [(60, True), (TIMEOUT_SECONDS + 600, False)])
def test_late_message_is_in_its_list_unless_celery_would_run_it_twice(
    broker: CeleryRedisBroker, run: Drive, clock: FakeClock, keys: Callable[..., Any], ahead: int, waits_in_list: bool
) -> None:
    document: dict[str, Any] = {"body": "[]", "content-type": "application/json", "content-encoding": "utf-8"}
    document["properties"] = {}
    document["headers"] = {"task": "t", "id": "1", "eta": in_seconds(clock, ahead)}
    run(broker.send(QUEUE, [Outgoing(body=json.dumps(document), delay_seconds=ahead)]))
    assert keys("LLEN", QUEUE) == int(waits_in_list)
    clock.advance(ahead - 1)
    assert receive(run, broker) == []
    clock.advance(1.1)
    assert len(receive(run, broker)) == 1


def test_delayed_messages_are_listed_in_pages(broker: CeleryRedisBroker, run: Drive, clock: FakeClock) -> None:
    bodies = [f"text {number}" for number in range(5)]
    run(broker.send(QUEUE, [Outgoing(body=text, delay_seconds=20) for text in bodies]))
    run(broker.send("other", [Outgoing(body="another's", delay_seconds=10)]))
    run(broker.send(QUEUE, [Outgoing(body="first", delay_seconds=10), Outgoing(body="now")]))
    found, cursor = [], None
    while True:
        page = run(broker.held([QUEUE], limit=2, cursor=cursor))
        found += [(each.queue, each.body, round(each.due_at - clock())) for each in page.messages]
        cursor = page.cursor
        if cursor is None:
            break
    assert found[0] == (QUEUE, "first", 10)
    assert sorted(found[1:]) == [(QUEUE, text, 20) for text in bodies]


# -- messages that are unlike kombu's


@pytest.mark.parametrize(
    ("item", "body"),
    [
        (b"no JSON", "no JSON"),
        (b"[1, 2]", "[1, 2]"),
        (b'{"unfinished": "', '{"unfinished": "'),
        (b'{"a":1,"properties":{"delivery_tag":"x"}}', None),
        (b'{"task": "shop.add", "args": [1]}', None),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"{}", "{}"),
        (b'{"taskq": {"attributes": 5, "text": 7}, "body": "x"}', '{"body": "x"}'),
        (b'{"taskq": "x", "body": "y"}', None),
        (b'{"taskq": oh, "body": "y"}', None),
    ],
)
def test_any_item_of_a_list_can_be_received_and_put_back(
    broker: CeleryRedisBroker,
    run: Drive,
    channel: Any,
    keys: Callable[..., Any],
    clock: FakeClock,
    item: bytes,
    body: str | None,
) -> None:
    keys("LPUSH", QUEUE, item)
    clock.advance(-2 * LEASE_SECONDS)
    [first] = receive(run, broker)
    clock.advance(2 * LEASE_SECONDS)
    assert first.body == (item.decode() if body is None else body)
    channel.qos.restore_visible()
    assert keys("LLEN", QUEUE) == 1
    [second] = receive(run, broker)
    assert second.message_id == first.message_id
    assert second.receive_count == 2
    if body is not None:
        assert second.body == body
    assert run(broker.settle([DeadLetter(second, "junk")])) == [None]
    [dead] = run(broker.receive("work-dead", 1, 0, LEASE_SECONDS))
    assert dead.body == second.body
    assert dead.attributes[DEAD_LETTER_REASON] == "junk"


def test_unreadable_message_in_unacked_is_left_where_it_is(
    broker: CeleryRedisBroker, run: Drive, keys: Callable[..., Any], clock: FakeClock
) -> None:
    keys("HSET", "unacked", "bad", "[broken")
    keys("ZADD", "unacked_index", 1, "bad", 2, "gone")
    assert receive(run, broker) == []
    assert keys("HGET", "unacked", "bad") == b"[broken"
    assert keys("ZRANGE", "unacked_index", 0, -1) == [b"bad"]
    assert float(keys("ZSCORE", "unacked_index", "bad")) == pytest.approx(clock(), abs=1)


def test_signed_message_comes_as_it_was_signed(
    broker: CeleryRedisBroker, run: Drive, channel: Any, clock: FakeClock
) -> None:
    document: dict[str, Any] = {"body": '[["ü"], {}, {}]', "content-encoding": "utf-8"}
    document["content-type"] = "application/json"
    document |= {"headers": {"task": "t", "taskq_signature": {"value": "x"}}}
    document |= {"properties": {"delivery_info": {"exchange": "", "routing_key": QUEUE}, "priority": 0}}
    run(broker.send(QUEUE, [Outgoing(body=json.dumps(document))]))
    clock.advance(-2 * LEASE_SECONDS)
    [first] = receive(run, broker)
    clock.advance(2 * LEASE_SECONDS)
    channel.qos.restore_visible()
    [again] = receive(run, broker)
    assert json.loads(first.body) == json.loads(again.body) == document
    assert again.receive_count == 2


def test_large_and_small_numbers_survive_being_put_back(
    broker: CeleryRedisBroker, run: Drive, clock: FakeClock, connection: Any
) -> None:
    headers = {"big": 2**63 + 1, "small": 1.0000000000000002, "none": [], "empty": {}}
    publish(connection, headers=headers)
    receive(run, broker)
    clock.advance(LEASE_SECONDS + 1)
    [again] = receive(run, broker)
    found = json.loads(again.body)["headers"]
    assert {name: found[name] for name in headers} == headers


# -- the server


def test_nothing_is_lost_when_the_server_is_killed(own_server: Callable[[str], Any], clock: FakeClock) -> None:
    server = own_server("redis")
    broker = CeleryRedisBroker([server.url], {}, clock)
    with driving("sync", broker.services) as run:
        run(broker.send(QUEUE, [Outgoing(body=str(number)) for number in range(10)]))
        run(broker.send(QUEUE, [Outgoing(body="late", delay_seconds=5)]))
        leased = receive(run, broker, 4)
        run(broker.settle([Acknowledge(leased[0]), Release(leased[1]), DeadLetter(leased[2], "why")]))
        server.kill()
        with pytest.raises(Unreachable, match=QUEUE):
            run(broker.depth(QUEUE))
        server.start()
        assert run(broker.settle([Acknowledge(leased[3])])) == [None]
        assert run(broker.depth(QUEUE)) == Depth(waiting=7, delayed=1, in_flight=0)
        clock.advance(6)
        assert {each.body for each in receive(run, broker)} == {"1", *map(str, range(4, 10)), "late"}
        assert [each.body for each in run(broker.receive("work-dead", 5, 0, LEASE_SECONDS))] == ["2"]


@pytest.mark.parametrize("is_sent", [True, False])
def test_refusal_of_the_server_names_queue_and_server(
    own_server: Callable[[str], Any], clock: FakeClock, is_sent: bool
) -> None:
    server = own_server("redis")
    with kombu.Connection(server.url) as connection:
        connection.default_channel.client.config_set("requirepass", "secret")
    broker = CeleryRedisBroker([server.url.replace("//", "//:wrong@")], {}, clock)
    with driving("sync", broker.services) as run, pytest.raises(AccessDenied, match="user and the password") as caught:
        run(broker.send(QUEUE, [Outgoing(body="x")])) if is_sent else receive(run, broker)
    assert QUEUE in str(caught.value)
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_messages_that_are_put_back_keep_their_order(
    broker: CeleryRedisBroker, run: Drive, clock: FakeClock, connection: Any
) -> None:
    for number in range(4):
        publish(connection, number)
    for _ in range(4):
        receive(run, broker, 1)
        clock.advance(1)
    clock.advance(LEASE_SECONDS)
    assert [arguments(each.body)[0] for each in receive(run, broker)] == [0, 1, 2, 3]


def test_message_with_attributes_knows_when_it_was_sent(
    broker: CeleryRedisBroker, run: Drive, clock: FakeClock
) -> None:
    sent_at = clock()
    document = {"body": "[]", "content-type": "application/json", "headers": {"taskq_schedule": {}}, "properties": {}}
    run(broker.send(QUEUE, [Outgoing(body="x", attributes={"a": "b"}), Outgoing(body=json.dumps(document))]))
    clock.advance(5)
    assert [each.sent_at for each in receive(run, broker)] == [sent_at, sent_at]
