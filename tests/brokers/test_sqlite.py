"""Tests of the SQLite broker: the contract of brokers, several processes on one file, and errors."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from taskq_cloud.brokers import _sqlite_statements as sql
from taskq_cloud.brokers import sqlite as brokers
from taskq_cloud.brokers._local import DEDUPLICATION_SECONDS
from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.clients import sqlite as clients
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.flows import run as drive
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Refused, Release, Sent
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import OperationalError, Unreachable
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive, driving
from tests.brokers.clock_set_back import HOUR, ClockSetBackContract

T = TypeVar("T")


class TestSQLiteBroker(ClockSetBackContract, BrokerContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def broker(self, clock: FakeClock, tmp_path: Path) -> SQLiteBroker:
        return SQLiteBroker(tmp_path / "made" / "queues.db", clock)

    @pytest.fixture
    def queue(self) -> str:
        return "work"

    @pytest.fixture
    def ordered_queue(self) -> str:
        return "work.fifo"

    def test_deduplication_id_is_forgotten_after_five_minutes(
        self, broker: SQLiteBroker, run: Drive, clock: FakeClock
    ) -> None:
        message = Outgoing(body="x", group="a", deduplication="same")
        [first] = run(broker.send("work.fifo", [message]))
        clock.advance(299)
        [within] = run(broker.send("work.fifo", [message]))
        clock.advance(2)
        [after] = run(broker.send("work.fifo", [message]))
        assert within == first
        assert after != first
        assert run(broker.depth("work.fifo")).waiting == 2

    def test_released_message_goes_behind_the_others(self, broker: SQLiteBroker, run: Drive, clock: FakeClock) -> None:
        run(broker.send("work", [Outgoing(body="poison"), Outgoing(body="good")]))
        [poison] = run(broker.receive("work", 1, 0, 60))
        clock.advance(1)
        run(broker.settle([Release(poison)]))
        assert [each.body for each in run(broker.receive("work", 1, 0, 60))] == ["good"]

    def test_second_broker_on_the_file_receives_the_messages(
        self, broker: SQLiteBroker, run: Drive, tmp_path: Path
    ) -> None:
        run(broker.send("work", [Outgoing(body="kept")]))
        other = SQLiteBroker(tmp_path / "made" / "queues.db")
        with driving("sync", other.services) as run_other:
            assert [each.body for each in run_other(other.receive("work", 1, 1, 60))] == ["kept"]

    def test_message_that_is_not_utf8_is_refused_alone(self, broker: SQLiteBroker, run: Drive) -> None:
        refused, sent = run(broker.send("work", [Outgoing(body="\ud800"), Outgoing(body="good")]))
        assert isinstance(refused, Refused)
        assert "'work'" in str(refused.error)
        assert isinstance(sent, Sent)

    @pytest.mark.parametrize("queue_name", ["work", "work.fifo"])
    def test_receive_uses_indexes_only(self, broker: SQLiteBroker, run: Drive, tmp_path: Path, queue_name: str) -> None:
        run(broker.send(queue_name, [Outgoing(body="x", group="a")]))
        ready = sql.READY_IN_ORDER if queue_name.endswith(".fifo") else sql.READY
        with closing(sqlite3.connect(tmp_path / "made" / "queues.db")) as connection:
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN {ready}", {"queue": queue_name, "now": 0, "limit": 1}
            ).fetchall()
        steps = [row[3] for row in plan]
        scans = [step for step in steps if step.startswith("SCAN") and step != "SCAN ready"]
        assert not [step for step in scans if "subquery" not in step], steps
        # An ordered queue's few candidates are sorted, and nothing else.
        assert queue_name.endswith(".fifo") or not any("TEMP B-TREE" in step for step in steps), steps

    def test_clock_set_back_for_one_process_is_noticed_by_the_others(
        self, broker: SQLiteBroker, run: Drive, clock: FakeClock, tmp_path: Path
    ) -> None:
        run(broker.send("work", [Outgoing(body="x")]))
        clock.advance(-HOUR)
        other = SQLiteBroker(tmp_path / "made" / "queues.db", clock)
        run(other.send("elsewhere", [Outgoing(body="y")]))
        assert run(broker.depth("work")) == Depth(waiting=1, delayed=0, in_flight=0)

    def test_file_of_earlier_version_keeps_its_groups(
        self, broker: SQLiteBroker, run: Drive, clock: FakeClock, tmp_path: Path
    ) -> None:
        """An earlier version had neither the table of groups nor its triggers."""
        run(broker.send("work.fifo", [Outgoing(body=str(number), group="ab"[number % 2]) for number in range(4)]))
        run(broker.receive("work.fifo", 1, 0, 30))
        with closing(sqlite3.connect(tmp_path / "made" / "queues.db", isolation_level=None)) as connection:
            for name in ("sent", "removed", "changed", "moved"):
                connection.execute(f"DROP TRIGGER taskq_message_{name}")
            connection.execute("DROP TABLE taskq_groups")
            connection.execute(
                "CREATE INDEX taskq_messages_in_order ON taskq_messages (queue, sequence)"
                " WHERE message_group IS NOT NULL"
            )
        with driving("sync", broker.services) as run_newer:
            assert [each.body for each in run_newer(broker.receive("work.fifo", 10, 0, 30))] == ["1", "3"]


class CountedBroker:
    """A broker whose calls are counted in steps of SQLite's virtual machine, which repeat exactly.

    Args:
        path: the database's file.
    """

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.broker = SQLiteBroker(path, self.clock)
        self._client = clients.open_client("sqlite", {"path": str(path)})
        self._steps = 0

    def perform(self, step: Any) -> Any:
        return self.clock.advance(step.seconds) if isinstance(step, Sleep) else self._client.call(step)

    def run(self, flow: Flow[T]) -> T:
        return drive(flow, self.perform)

    def steps(self, flow: Flow[Any]) -> int:
        def count() -> int:
            self._steps += 1
            return 0

        connection = self._client._connection
        assert connection is not None, "the broker has been used before"
        self._steps = 0
        connection.set_progress_handler(count, 1)
        self.run(flow)
        connection.set_progress_handler(None, 1)
        return self._steps

    def fill(self, messages: Sequence[Outgoing], queue: str = "work.fifo") -> None:
        self.run(self.broker.send(queue, messages))

    def close(self) -> None:
        self._client.close()


BACKLOGS: dict[str, Callable[[int], Outgoing]] = {
    "one group": lambda number: Outgoing(body="x", group="a", deduplication=f"id {number}"),
    "a group for each message": lambda number: Outgoing(body="x", group=f"g{number}", deduplication=f"id {number}"),
    "two groups": lambda number: Outgoing(body="x", group="a" if number else "b", deduplication=f"id {number}"),
    "delayed messages of many groups": lambda number: Outgoing(body="x", group=f"g{number}", delay_seconds=1e6),
    "delayed messages of one group": lambda number: Outgoing(body="x", group="a", delay_seconds=1e6),
}


@pytest.mark.parametrize("backlog", BACKLOGS)
def test_calls_of_ordered_queue_take_as_many_steps_with_long_backlog_as_with_short(
    tmp_path: Path, backlog: str
) -> None:
    def steps(length: int) -> dict[str, int]:
        counted = CountedBroker(tmp_path / f"{length}.db")
        broker = counted.broker
        with closing(counted):
            counted.fill([BACKLOGS[backlog](number) for number in range(length)])
            found = {"first receive": counted.steps(broker.receive("work.fifo", 10, 0, 30))}
            deliveries = counted.run(broker.receive("work.fifo", 10, 0, 30))
            found["receive while the first are in flight"] = counted.steps(broker.receive("work.fifo", 10, 0, 30))
            found["poll of an idle worker"] = counted.steps(broker.receive("work.fifo", 10, 1, 30))
            found["send"] = counted.steps(
                broker.send("work.fifo", [Outgoing(body="x", group="a", deduplication="new")])
            )
            found["settle"] = counted.steps(broker.settle([Acknowledge(each) for each in deliveries]))
        return found

    short, long = steps(100), steps(3000)
    assert {name: count for name, count in long.items() if count > 1.2 * short[name] + 100} == {}, (short, long)


def test_delayed_messages_of_many_groups_become_due_a_part_at_a_time(tmp_path: Path) -> None:
    counted = CountedBroker(tmp_path / "queues.db")
    with closing(counted):
        for _ in range(3):
            counted.fill([Outgoing(body="x", group=str(uuid4()), delay_seconds=60) for _ in range(1000)])
        counted.clock.advance(60)
        received = [len(counted.run(counted.broker.receive("work.fifo", 1000, 0, 30))) for _ in range(4)]
    assert received == [1000, 1000, 1000, 0]


def test_purge_of_ordered_queue_removes_its_groups(tmp_path: Path) -> None:
    counted = CountedBroker(tmp_path / "queues.db")
    broker = counted.broker
    with closing(counted):
        counted.fill([Outgoing(body="x", group=str(number)) for number in range(10)])
        assert counted.run(broker.purge("work.fifo")) == 10
        assert counted.run(broker.receive("work.fifo", 10, 0, 30)) == []
        counted.fill([Outgoing(body="y", group="3")])
        assert [each.body for each in counted.run(broker.receive("work.fifo", 10, 0, 30))] == ["y"]


class Process:
    """A process that runs ``sqlite_process.py`` and is ready to begin."""

    def __init__(self, action: str, path: Path) -> None:
        script = Path(__file__).with_name("sqlite_process.py")
        process = subprocess.Popen(
            [sys.executable, str(script), action, str(path), "work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout
        assert self.answer() == "ready"

    def begin(self) -> None:
        self._input.write("begin\n")
        self._input.flush()

    def answer(self) -> Any:
        return json.loads(self._output.readline())

    def all_answers(self) -> list[Any]:
        """Wait for the process to end without an error, and return the rest of its answers."""
        lines = self._output.readlines()
        assert self._process.wait(60) == 0
        return [json.loads(line) for line in lines]

    def kill(self) -> list[Any]:
        """Kill the process with SIGKILL, and return the answers that it had written before."""
        self._process.kill()
        lines = self._output.readlines()
        assert self._process.wait(60) == -signal.SIGKILL
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def clean_up(self) -> None:
        with self._process:  # closes the pipes and waits
            self._process.kill()


@pytest.mark.slow
class TestSeveralProcesses:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "queues.db"

    @pytest.fixture
    def start(self, path: Path) -> Iterator[Callable[[str], Process]]:
        started: list[Process] = []

        def start(action: str) -> Process:
            started.append(Process(action, path))
            return started[-1]

        yield start
        for process in started:
            process.clean_up()

    @pytest.fixture
    def broker(self, path: Path) -> SQLiteBroker:
        return SQLiteBroker(path)

    @pytest.fixture
    def run(self, broker: SQLiteBroker) -> Iterator[Drive]:
        with driving("sync", broker.services) as drive:
            yield drive

    def test_each_message_comes_once_to_four_processes(
        self, broker: SQLiteBroker, run: Drive, start: Callable[[str], Process]
    ) -> None:
        answers = run(broker.send("work", [Outgoing(body=str(number)) for number in range(2000)]))
        sent = [answer for answer in answers if isinstance(answer, Sent)]
        assert len(sent) == 2000
        processes = [start("drain") for _ in range(4)]
        for process in processes:
            process.begin()

        received = [answer for process in processes for answer in process.all_answers()]

        assert sorted(received) == sorted([each.message_id, 1] for each in sent)
        assert run(broker.depth("work")) == Depth(0, 0, 0)

    def test_messages_of_a_killed_process_come_back_after_their_lease(
        self, path: Path, broker: SQLiteBroker, run: Drive, start: Callable[[str], Process]
    ) -> None:
        run(broker.send("work", [Outgoing(body=str(number)) for number in range(10)]))
        process = start("hold")
        process.begin()
        held = process.answer()
        process.kill()

        assert len(held) == 10
        assert run(broker.receive("work", 10, 0, 60)) == []
        later = SQLiteBroker(path, clock=lambda: time.time() + 61)
        again = run(later.receive("work", 10, 0, 60))
        assert {each.message_id for each in again} == set(held)
        assert all(each.receive_count == 2 for each in again)

    def test_sends_of_a_killed_process_are_stored_in_whole_batches(
        self, broker: SQLiteBroker, run: Drive, start: Callable[[str], Process]
    ) -> None:
        processes = [start("send") for _ in range(2)]
        for process in processes:
            process.begin()
        batches = [process.answer() for process in processes for _ in range(20)]
        for process in processes:
            batches += process.kill()

        stored = {each.message_id for each in run(broker.receive("work", 1000, 0, 60))}
        while more := run(broker.receive("work", 1000, 0, 60)):
            stored |= {each.message_id for each in more}

        assert stored >= {message_id for batch in batches for message_id in batch}
        assert len(stored) % 10 == 0


class TestTrouble:
    def use(self, path: Path, flow_of: Callable[[SQLiteBroker], Flow[T]]) -> T:
        broker = SQLiteBroker(path)
        with driving("sync", broker.services) as run:
            return run(flow_of(broker))

    def test_file_that_is_not_a_database_is_named_in_the_error(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("These are my notes. They are not a database, but long enough for one. " * 100)
        with pytest.raises(OperationalError, match=r"queue 'work'.*notes\.txt.*isn't an SQLite database"):
            self.use(path, lambda broker: broker.send("work", [Outgoing(body="x")]))

    def test_directory_that_cannot_be_created_is_named_in_the_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OperationalError, match=r"queue 'work'.*file.*directory"):
            self.use(tmp_path / "file" / "queues.db", lambda broker: broker.depth("work"))

    def test_database_that_stays_locked_is_unreachable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "queues.db"
        self.use(path, lambda broker: broker.send("work", [Outgoing(body="x")]))
        monkeypatch.setattr(clients, "BUSY_TIMEOUT_SECONDS", 0.01)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(Unreachable, match=r"'work'.*locked"):
                self.use(path, lambda broker: broker.send("work", [Outgoing(body="y")]))
            other.execute("ROLLBACK")
        assert self.use(path, lambda broker: broker.depth("work")) == Depth(1, 0, 0)


UNORDERED_BACKLOGS: dict[str, Callable[[int], Outgoing]] = {
    "messages that are ready": lambda number: Outgoing(body="x"),
    "delayed messages": lambda number: Outgoing(body="x", delay_seconds=1e6 if number > 20 else 0),
}


@pytest.mark.parametrize("leased", [False, True], ids=["", "in flight"])
@pytest.mark.parametrize("backlog", UNORDERED_BACKLOGS)
def test_calls_of_queue_take_as_many_steps_with_long_backlog_as_with_short(
    tmp_path: Path, backlog: str, leased: bool
) -> None:
    def steps(length: int) -> dict[str, int]:
        counted = CountedBroker(tmp_path / f"{length}.db")
        broker = counted.broker
        with closing(counted):
            counted.fill([UNORDERED_BACKLOGS[backlog](number) for number in range(length)], "work")
            if leased:
                counted.run(broker.receive("work", 1000, 0, 1e6))
                counted.run(broker.send("work", [Outgoing(body="x")] * 10))
            found = {"receive": counted.steps(broker.receive("work", 5, 0, 30))}
            deliveries = counted.run(broker.receive("work", 5, 0, 30))
            found["poll of an idle worker"] = counted.steps(broker.receive("elsewhere", 10, 1, 30))
            found["send"] = counted.steps(broker.send("work", [Outgoing(body="x")]))
            found["extend"] = counted.steps(broker.extend(deliveries, 60))
            found["release"] = counted.steps(broker.settle([Release(deliveries[0])]))
            found["dead letter"] = counted.steps(broker.settle([DeadLetter(deliveries[1], "bad")]))
            found["acknowledge"] = counted.steps(broker.settle([Acknowledge(each) for each in deliveries[2:]]))
            found["listing"] = counted.steps(broker.held(["elsewhere"], limit=10))
        return found

    short, long = steps(100), steps(3000)
    assert {name: count for name, count in long.items() if count > 1.2 * short[name] + 100} == {}, (short, long)


def test_purge_of_long_backlog_is_made_in_steps_and_leaves_what_came_after_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "PURGED_IN_A_STEP", 100)
    counted = CountedBroker(tmp_path / "queues.db")
    broker, steps = counted.broker, 0
    with closing(counted):
        counted.fill([Outgoing(body="x")] * 250, "work")

        def perform(step: Any) -> Any:
            nonlocal steps
            answer = counted.perform(step)
            if step.operation == "transaction":
                steps += 1
                counted.fill([Outgoing(body="later")], "work")
            return answer

        assert drive(broker.purge("work"), perform) == 250
        assert steps == 3
        assert [each.body for each in counted.run(broker.receive("work", 10, 0, 30))] == ["later"] * 3


def test_id_that_was_not_swept_yet_counts_no_longer_than_five_minutes(tmp_path: Path) -> None:
    counted = CountedBroker(tmp_path / "queues.db")
    broker = counted.broker
    with closing(counted):
        counted.fill([Outgoing(body=str(number), deduplication=f"id {number}") for number in range(100)])
        counted.clock.advance(DEDUPLICATION_SECONDS)
        for body in ("again", "once more"):
            counted.fill([Outgoing(body=body, deduplication="id 99")])
        assert counted.run(broker.depth("work.fifo")) == Depth(waiting=101, delayed=0, in_flight=0)
