"""Tests of the PostgreSQL broker on a server: the contract of brokers, and what only this broker does."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from taskq_cloud.brokers import postgresql as brokers
from taskq_cloud.brokers._postgresql_schema import Tables
from taskq_cloud.brokers._postgresql_statements import Statements
from taskq_cloud.brokers.postgresql import PostgreSQLBroker
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.core.flows import Call, Flow, arun
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Refused, Release, Sent
from taskq_cloud.core.ports import Depth
from taskq_cloud.core.servers.postgresql import Database, database_of
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def database(server_url: Callable[[str], str]) -> Database:
    return database_of([urlsplit(f"{server_url('postgresql')}/postgres")])


class TestPostgreSQLBroker(BrokerContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def broker(self, database: Database, clock: FakeClock) -> PostgreSQLBroker:
        return PostgreSQLBroker(database, Tables(schema="contract"), clock)

    @pytest.fixture
    def queue(self) -> str:
        return f"work-{uuid4().hex}"

    @pytest.fixture
    def ordered_queue(self) -> str:
        return f"work-{uuid4().hex}.fifo"


@pytest.fixture
def broker(database: Database) -> PostgreSQLBroker:
    """A broker on the server's own time."""
    return PostgreSQLBroker(database, Tables(schema="work"))


@pytest.fixture
def queue() -> str:
    return f"work-{uuid4().hex}"


@pytest.fixture
def run(broker: PostgreSQLBroker) -> Iterator[Drive]:
    with driving("sync", broker.services) as drive:
        yield drive


def test_waiting_receiver_asks_once_and_is_woken_by_a_send(broker: PostgreSQLBroker, queue: str) -> None:
    calls: list[str] = []

    async def main() -> tuple[float, float]:
        connections = AsyncConnections(broker.services)

        async def perform(step: Any) -> Any:
            calls.append(step.operation if isinstance(step, Call) else f"pause {step.seconds:g}")
            return await connections.perform(step)

        receiving = asyncio.create_task(arun(broker.receive(queue, 10, 20, 60), perform))
        await asyncio.sleep(1)
        assert not receiving.done()
        sent_at = time.monotonic()
        await connections.run(broker.send(queue, [Outgoing(body="x")]))
        deliveries = await receiving
        took = time.monotonic() - sent_at
        await connections.close()
        return took, len(deliveries)

    took, received = asyncio.run(main())
    assert received == 1
    assert took < 3  # without the announcement, the next look would be after 5 s
    assert calls == ["transaction", "listen", "query", "pause 5", "query", "transaction"]


def test_receiver_waits_for_the_end_of_a_delay(broker: PostgreSQLBroker, queue: str, run: Drive) -> None:
    run(broker.send(queue, [Outgoing(body="x", delay_seconds=0.3)]))
    began_at = time.monotonic()
    assert len(run(broker.receive(queue, 1, 20, 60))) == 1
    assert 0.2 < time.monotonic() - began_at < 4


def test_message_of_another_transaction_that_is_open_is_passed_over(
    broker: PostgreSQLBroker, queue: str, run: Drive, database: Database
) -> None:
    run(broker.send(queue, [Outgoing(body="locked"), Outgoing(body="free")]))
    conninfo = dict(database.service.options)["conninfo"]
    with psycopg.connect(conninfo) as other:
        other.execute("SELECT 1 FROM work.taskq_messages WHERE queue = %s AND body = 'locked' FOR UPDATE", (queue,))
        assert [each.body for each in run(broker.receive(queue, 10, 0, 60))] == ["free"]
        assert run(broker.receive(queue, 10, 0.3, 60)) == []
    assert [each.body for each in run(broker.receive(queue, 10, 0, 60))] == ["locked"]


def test_many_receivers_of_an_ordered_queue_never_mix_up_a_group(broker: PostgreSQLBroker, queue: str) -> None:
    """Threads receive, acknowledge, and give back messages of some groups, while others are sent."""
    ordered, rng = f"{queue}.fifo", random.Random(5)
    handled: dict[str, list[int]] = {f"group {number}": [] for number in range(4)}
    in_hand = dict.fromkeys(handled, 0)
    lock, total, errors = threading.Lock(), 4 * 30, list[str]()

    def work(seed: int) -> None:
        own = random.Random(seed)
        with driving("sync", broker.services) as drive:
            while sum(map(len, handled.values())) < total and not errors:
                deliveries = drive(broker.receive(ordered, own.randrange(1, 5), 0.2, 60))
                with lock:
                    for group in {each.group or "" for each in deliveries}:
                        in_hand[group] += 1
                        if in_hand[group] > 1:
                            errors.append(f"{group} is received twice at a time")
                time.sleep(own.random() / 200)  # the work
                done = deliveries[: own.randrange(len(deliveries) + 1)] if deliveries else []
                with lock:
                    for each in deliveries:
                        in_hand[each.group or ""] -= bool(in_hand[each.group or ""])
                # Whatever is left is given back, from its first message of a group on.
                left = [each for each in deliveries if each not in done]
                kept = [
                    each
                    for each in done
                    if all(each.group != other.group or int(each.body) < int(other.body) for other in left)
                ]
                with lock:
                    for each in kept:
                        handled[each.group or ""].append(int(each.body))
                drive(
                    broker.settle(
                        [*map(Acknowledge, kept), *(Release(each) for each in deliveries if each not in kept)]
                    )
                )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    with driving("sync", broker.services) as drive:
        for number in range(30):
            groups = rng.sample(sorted(handled), 4)
            drive(broker.send(ordered, [Outgoing(body=str(number), group=group) for group in groups]))
    for each in threads:
        each.join()
    assert errors == []
    assert handled == {group: list(range(30)) for group in handled}
    with driving("sync", broker.services) as drive:
        assert drive(broker.depth(ordered)) == Depth(0, 0, 0)


def test_receive_reads_as_little_of_a_long_queue_as_of_a_short_one(
    broker: PostgreSQLBroker, queue: str, run: Drive, database: Database
) -> None:
    run(broker.depth(queue))
    with psycopg.connect(dict(database.service.options)["conninfo"], autocommit=True) as connection:
        columns = "(queue, visible_at, message_group, message_id, sent_at, body)"
        for name, group in ((queue, "NULL"), (f"{queue}.fifo", "'g' || i %% 1000")):
            connection.execute(
                f"INSERT INTO work.taskq_messages {columns} SELECT %s, i, {group}, 'm' || i, 0, 'x'"
                " FROM generate_series(1, 20000) AS i",
                (name,),
            )
        connection.execute(
            "INSERT INTO work.taskq_groups SELECT %s, 'g' || i, i FROM generate_series(0, 999) AS i", (f"{queue}.fifo",)
        )
    statements = Statements(Tables(schema="work"))
    parameters = {"queue": queue, "seconds": 60.0, "limit": 10, "holder": "x"}
    in_order = {**parameters, "queue": f"{queue}.fifo"}
    for explained in (
        [(statements.receive, parameters)],
        [(statements.next, parameters)],
        [(statements.next_in_order, in_order)],
        [
            (statements.hold_groups, in_order),
            (statements.receive_in_order, in_order),
            (statements.set_times_of_held, in_order),
        ],
    ):
        asked = [(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", given) for sql, given in explained]
        for [row] in run(call(database, asked)):
            [plan] = row["QUERY PLAN"]
            assert "Seq Scan" not in json.dumps(plan)
            assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 800, plan
    assert len(run(broker.receive(queue, 10, 0, 60))) == 10
    assert len(run(broker.receive(f"{queue}.fifo", 10, 0, 60))) == 10


def call(database: Database, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> Flow[list[list[dict[str, Any]]]]:
    rows: list[list[dict[str, Any]]] = yield Call(database.name, "transaction", {"statements": statements})
    return rows


@pytest.mark.parametrize("count", [1, 2])
def test_transactions_behind_a_pooler_see_what_was_committed(server_url: Callable[[str], str], count: int) -> None:
    options = "pgbouncer=true&options=-c%20default_transaction_isolation%3Dserializable"
    pooled = database_of([urlsplit(f"{server_url('postgresql')}/postgres?{options}")])
    with driving("sync", PostgreSQLBroker(pooled).services) as run:
        answers = run(call(pooled, [("SHOW transaction_isolation", {})] * count))
    assert answers == [[{"transaction_isolation": "read committed"}]] * count


def test_purge_takes_steps(broker: PostgreSQLBroker, queue: str, run: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "PURGED_IN_A_STEP", 40)
    run(broker.send(queue, [Outgoing(body=str(number)) for number in range(100)]))
    assert run(broker.purge(queue)) == 100
    assert run(broker.depth(queue)) == Depth(0, 0, 0)


def test_purge_goes_on_when_a_worker_settles_what_it_has_found(
    broker: PostgreSQLBroker, database: Database, queue: str, run: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "PURGED_IN_A_STEP", 40)
    run(broker.send(queue, [Outgoing(body=str(number)) for number in range(100)]))
    url = dict(database.service.options)["conninfo"]
    with psycopg.connect(url) as worker, psycopg.connect(url, autocommit=True) as other:
        worker.execute("DELETE FROM work.taskq_messages WHERE queue = %s AND body = '0'", [queue])
        with ThreadPoolExecutor(1) as threads:
            purging = threads.submit(run, broker.purge(queue))
            waits = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
            until(lambda: other.execute(waits, [worker.info.backend_pid]).fetchone() is not None)
            worker.commit()
            assert purging.result() == 99
    assert run(broker.depth(queue)) == Depth(0, 0, 0)


def test_dead_letter_of_an_ordered_queue_keeps_its_group_and_makes_way(
    broker: PostgreSQLBroker, queue: str, run: Drive
) -> None:
    ordered = f"{queue}.fifo"
    run(broker.send(ordered, [Outgoing(body=text, group="a") for text in ("bad", "good")]))
    [bad] = run(broker.receive(ordered, 1, 0, 60))
    run(broker.settle([DeadLetter(bad, "why")]))
    [good] = run(broker.receive(ordered, 1, 0, 60))
    [dead] = run(broker.receive(dead_letter_queue(ordered), 1, 0, 60))
    assert (good.body, dead.body, dead.group) == ("good", "bad", "a")


def test_character_that_postgresql_cannot_store_is_refused_alone(
    broker: PostgreSQLBroker, queue: str, run: Drive
) -> None:
    refused, sent = run(broker.send(queue, [Outgoing(body="a\x00b"), Outgoing(body="quotes \"'\\ {},NULL")]))
    assert isinstance(refused, Refused)
    assert "NUL" in str(refused.error)
    assert isinstance(sent, Sent)
    assert [each.body for each in run(broker.receive(queue, 10, 0, 60))] == ["quotes \"'\\ {},NULL"]


def test_brokers_with_other_prefixes_share_a_database(broker: PostgreSQLBroker, database: Database, queue: str) -> None:
    other = PostgreSQLBroker.from_url(urlsplit("postgresql://h/d"), {"schema": "work", "prefix": "other_"})
    assert '"work"."other_messages"' in other.script
    apart = PostgreSQLBroker(database, Tables(schema="work", prefix="other_"))
    with driving("sync", broker.services) as drive:
        drive(broker.send(queue, [Outgoing(body="x")]))
        assert drive(apart.depth(queue)) == Depth(0, 0, 0)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://u:secret@h/d?colour=red", "unknown option 'colour'"),
        ("postgresql://u:secret@h/d?schema=a-b", "schema=a-b"),
        ("postgresql://u:secret@h/d?pgbouncer=perhaps", "must be true or false"),
        ("postgresql://u:secret@h/d?connections=0", "must be a number from 1 to 1000"),
    ],
)
def test_wrong_url_is_refused_without_its_password(url: str, error: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=error) as caught:
        PostgreSQLBroker.from_url(urlsplit(url), {})
    assert "secret" not in str(caught.value)


def test_urls_that_differ_in_more_than_hosts_are_no_alternatives() -> None:
    with pytest.raises(ImproperlyConfigured, match="must differ in nothing but their hosts"):
        broker_from_url("postgresql://a/one;postgresql://b/two", {})
    broker = broker_from_url("postgresql://a/one;postgresql://b:5433/one", {})
    [service] = broker.services.values()
    assert dict(service.options)["conninfo"] == "postgresql://a,b:5433/one?target_session_attrs=read-write"
