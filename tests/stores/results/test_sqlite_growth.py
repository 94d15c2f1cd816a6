"""A result store that has kept many results for long: what a call costs, and when expired entries go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients.sqlite import SQLiteClient
from taskq_cloud.core.flows import Flow, run
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, Record
from taskq_cloud.stores.results.sqlite import SQLiteResults
from taskq_cloud.testing.clock import FakeClock

DAY = 86_400.0


class Store:
    """A result store whose calls are counted in steps of SQLite's virtual machine, which repeat exactly.

    Args:
        path: the database's file.
    """

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.results = SQLiteResults(path, self.clock)
        self.client = SQLiteClient(path, 1)
        self.steps = 0

    def run(self, flow: Flow[Any]) -> Any:
        def perform(step: Any) -> Any:
            return self.client.call(step)

        return run(flow, perform)

    def count(self, flow: Flow[Any]) -> int:
        """Run a flow, and return the steps that it takes."""

        def step() -> int:
            self.steps += 1
            return 0

        connection, self.steps = self.client._connection, 0
        assert connection is not None, "the store has been used before"
        connection.set_progress_handler(step, 1)
        self.run(flow)
        connection.set_progress_handler(None, 1)
        return self.steps

    def need_no_disk(self) -> None:
        """Let no later call wait for the disk."""
        assert self.client._connection is not None
        self.client._connection.execute("PRAGMA synchronous = OFF")

    def rows(self, table: str) -> int:
        return int(self.run(self._query(f"SELECT count(*) AS count FROM {table}"))[0][0]["count"])

    def _query(self, sql: str) -> Flow[Any]:
        return self.results._run("query", [(sql, ())])  # type: ignore[list-item]

    def save(self, *ids: str) -> list[bool]:
        expires_at = self.clock() + DAY
        records = [Record(each, "SUCCESS", FINAL_VERSION, "{}", expires_at) for each in ids]
        written: list[bool] = self.run(self.results.save(records))
        return written


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "results.db")
    with closing(made.client):
        yield made


@pytest.mark.parametrize("expired", [False, True], ids=["", "all have expired"])
def test_calls_take_as_many_steps_with_many_entries_as_with_few(tmp_path: Path, expired: bool) -> None:
    def steps(entries: int) -> dict[str, int]:
        store = Store(tmp_path / f"{entries}.db")
        results, later = store.results, store.clock() + DAY
        with closing(store.client):
            store.save(*(f"t-{number}" for number in range(entries)))
            store.need_no_disk()
            for number in range(entries):
                store.run(results.join(f"j-{number}", "a", 2, later))
                store.run(results.claim(f"c-{number}", "me", 10))
                store.run(results.reserve(f"r-{number}", 1, 0))
            if expired:
                store.clock.advance(FENCE_KEPT_SECONDS + DAY)
            new = Record("new", "SUCCESS", FINAL_VERSION, "{}", store.clock() + DAY)
            return {
                "save": store.count(results.save([new])),
                "load": store.count(results.load(["new", "t-7"])),
                "join": store.count(results.join("new", "a", 2, store.clock() + DAY)),
                "claim": store.count(results.claim("new", "me", 10)),
                "reserve": store.count(results.reserve("new", 1, 0)),
                "delete": store.count(results.delete(["new"])),
            }

    short, long = steps(100), steps(1000)
    assert {name: count for name, count in long.items() if count > 1.2 * short[name] + 100} == {}, (short, long)


def test_expired_results_go_faster_than_batches_bring_new_ones(store: Store) -> None:
    store.save(*(f"old-{number}" for number in range(400)))
    store.clock.advance(DAY)
    for batch in range(20):
        store.save(*(f"new-{batch}-{number}" for number in range(100)))
    assert store.rows("results") == 2000


def test_expired_joins_go_with_all_their_members(store: Store) -> None:
    store.save("t-1")
    store.need_no_disk()
    for join in range(10):
        for member in range(50):
            store.run(store.results.join(f"old-{join}", f"{member}", 100, store.clock() + DAY))
    store.clock.advance(DAY)
    for member in range(50):
        store.run(store.results.join("new", f"{member}", 100, store.clock() + DAY))
    assert (store.rows("joins"), store.rows("join_members")) == (1, 50)


def test_member_of_expired_join_does_not_count_in_the_next_with_its_name(store: Store) -> None:
    for member in range(60):
        store.run(store.results.join("again", f"old {member}", 61, store.clock() + DAY))
    store.clock.advance(DAY)
    assert store.run(store.results.join("again", "new", 2, store.clock() + DAY)) is False
    assert store.run(store.results.join("again", "newer", 2, store.clock() + DAY)) is True
