"""Tests of the lists of delayed messages, which the memory broker and the SQLite broker have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.core.model.message import Outgoing, Release
from taskq_cloud.core.ports import ListsHeld
from taskq_cloud.errors import OperationalError
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive, driving


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000.0)


@pytest.fixture(params=["memory", "sqlite"])
def broker(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> MemoryBroker | SQLiteBroker:
    return MemoryBroker(clock) if request.param == "memory" else SQLiteBroker(tmp_path / "queues.db", clock)


@pytest.fixture
def run(broker: MemoryBroker | SQLiteBroker) -> Iterator[Drive]:
    with driving("sync", broker.services) as drive:
        yield drive


def test_only_delayed_messages_are_listed_in_order_of_their_time(
    broker: MemoryBroker | SQLiteBroker, run: Drive, clock: FakeClock
) -> None:
    for queue, delays in (("work", (0, 0, 30, 10, 20)), ("mail", (15,)), ("other", (5,))):
        run(broker.send(queue, [Outgoing(body=f"{queue} {delay}", delay_seconds=delay) for delay in delays]))
    in_flight, again = run(broker.receive("work", 2, 0, 60))
    run(broker.settle([Release(again, 12)]))
    assert isinstance(broker, ListsHeld)
    page = run(broker.held(["work", "mail"], limit=10))
    assert page.cursor is None
    assert [(each.queue, each.due_at - clock()) for each in page.messages] == [
        ("work", 10),
        ("work", 12),
        ("mail", 15),
        ("work", 20),
        ("work", 30),
    ]
    assert [each.body for each in page.messages] == ["work 10", "work 0", "mail 15", "work 20", "work 30"]
    clock.advance(15)
    assert len(run(broker.held(["work", "mail"], limit=10)).messages) == 2
    assert run(broker.held([], limit=10)).messages == []
    assert in_flight.body == "work 0"


def test_delayed_message_is_on_one_page_only(broker: MemoryBroker | SQLiteBroker, run: Drive) -> None:
    run(broker.send("work", [Outgoing(body=str(number), delay_seconds=60) for number in range(5)]))
    found, cursor = [], None
    for size in (2, 2, 1):
        page = run(broker.held(["work"], limit=2, cursor=cursor))
        assert len(page.messages) == size
        found += [each.body for each in page.messages]
        cursor = page.cursor
    assert cursor is None
    assert found == ["0", "1", "2", "3", "4"]


def test_unknown_cursor_is_refused(broker: MemoryBroker | SQLiteBroker, run: Drive) -> None:
    with pytest.raises(OperationalError, match=r"'soon' isn't the cursor"):
        run(broker.held(["work"], limit=2, cursor="soon"))
