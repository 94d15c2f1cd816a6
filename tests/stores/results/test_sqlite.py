"""The result store in an SQLite file, shared by several processes."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, CallError, Sleep, Trouble
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import SUCCESS
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, OperationalError, Unreachable
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.stores.results.sqlite import SQLiteResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import driving
from tests.stores.results.clock_set_back import ClockSetBackContract


class TestSQLite(ClockSetBackContract, ResultStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: FakeClock) -> SQLiteResults:
        return SQLiteResults(tmp_path / "results.db", clock=clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


def count_rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    rows: int = count
    return rows


def race(path: Path, owner: int, ids: list[str]) -> tuple[list[bool], list[int | None], list[bool]]:
    """Compete with other processes for the records, locks and joins of some ids.

    Returns:
        For each id: whether the final record was written, the fence of the claimed key, whether the join is complete.
    """
    store = SQLiteResults(path)
    with driving("sync", store.services) as run:
        saved = [run(store.save([a_record(SUCCESS, value=owner, id=each)]))[0] for each in ids]
        fences = [run(store.claim(each, f"owner {owner}", 3600)) for each in ids]
        joined = [run(store.join(each, f"member {owner}", 4, None)) for each in ids]
    return saved, fences, joined


def test_processes_sharing_a_file_agree_on_one_winner(path: Path) -> None:
    ids = [f"task-{number}" for number in range(25)]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        racing = [processes.submit(race, path, owner, ids) for owner in range(4)]
        saved, fences, joined = zip(*(each.result() for each in racing), strict=True)

    for position, task_id in enumerate(ids):
        assert sorted(answers[position] for answers in saved) == [False, False, False, True], task_id
        assert sorted((answers[position] for answers in fences), key=str) == [1, None, None, None], task_id
        assert sorted(answers[position] for answers in joined) == [False, False, False, True], task_id


def test_record_written_by_one_store_is_read_by_another(path: Path) -> None:
    record = a_record(value="größer")
    writer, reader = SQLiteResults(path), SQLiteResults(path)
    with driving("sync", writer.services) as run:
        run(writer.save([record]))
    with driving("async", reader.services) as run:
        assert run(reader.load([record.id])) == {record.id: record}


def test_expired_rows_are_removed_from_the_file(path: Path) -> None:
    clock = FakeClock()
    store = SQLiteResults(path, clock=clock)
    with driving("sync", store.services) as run:
        run(store.save([a_record(expires_at=clock() + 10) for _ in range(50)]))
        run(store.join("join", "member", 2, clock() + 10))
        run(store.claim("key", "owner", 10))
        clock.advance(16 * 86_400)
        for _ in range(3):
            run(store.save([a_record()]))
        run(store.join("another", "member", 2, None))
        run(store.claim("another", "owner", 10))

    assert count_rows(path, "results") == 3
    assert count_rows(path, "joins") == count_rows(path, "join_members") == 1
    assert count_rows(path, "claims") == 1


def test_relative_path_is_kept_when_working_directory_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_from_url("sqlite:///.taskq/results.db", {})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    with driving("sync", store.services) as run:
        run(store.save([a_record()]))

    assert (tmp_path / ".taskq" / "results.db").exists()


def test_url_with_four_slashes_is_an_absolute_path(path: Path) -> None:
    store = store_from_url(f"sqlite:///{path}", {})
    record = a_record()
    with driving("sync", store.services) as run:
        run(store.save([record]))
    assert count_rows(path, "results") == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://results.db", "sqlite:///results.db?mode=ro"])
def test_url_without_path_or_with_options_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="sqlite:"):
        store_from_url(url, {})


def test_file_that_is_not_a_database_is_named_in_the_error(path: Path) -> None:
    path.write_text("not a database, but long enough to be taken for one" * 100)
    store = SQLiteResults(path)
    connections = Connections(store.services)
    with pytest.raises(OperationalError, match=str(path)):
        connections.run(store.load(["task"]))
    connections.close()
    assert path.read_text().startswith("not a database")


def test_database_that_stays_locked_is_unreachable(path: Path) -> None:
    flow = SQLiteResults(path).load(["task"])
    call = next(flow)
    assert isinstance(call, Call)
    with pytest.raises(Unreachable, match="locked"):
        flow.throw(CallError(call, "SQLITE_BUSY", "another process kept the database locked", Trouble.TRANSIENT))


class FullDiskBench(Bench):
    """A bench whose results have no more room on the disk, until the pipeline has paused a number of times."""

    pauses = 0

    def limit_pages(self, pages: int) -> None:
        """Limit the database's size. The size that it has is the least limit."""
        (service,) = self.store.services
        self.connections.perform(
            Call(service, "query", {"statements": [(f"PRAGMA max_page_count = {pages}", ())]}),
        )

    def perform(self, step: Any) -> Any:
        if isinstance(step, Sleep):
            self.pauses += 1
            if self.pauses == 12:
                self.limit_pages(1_000_000)
        return super().perform(step)


def test_finished_task_waits_for_full_disk_and_runs_once(path: Path) -> None:
    clock, runs = FakeClock(), 0

    def grow() -> str:
        nonlocal runs
        runs += 1
        bench.limit_pages(1)
        return "x" * 200_000

    tasks = {"grow": TaskDefinition("grow", grow, TaskOptions())}
    store = SQLiteResults(path, clock)
    bench = FullDiskBench.in_memory(tasks, clock, store=store, policy=Policy(patience_seconds=300))
    with closing(bench):
        bench.run(store.save([a_record(SUCCESS, id="earlier")]))
        bench.send(Message(task="grow", id="t-1"))
        bench.work()
        assert bench.pauses >= 12, "the disk was not full"
        assert bench.states("t-1") == ["SUCCESS"]
        assert bench.left() == 0
    assert runs == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SQLITE_READONLY_DIRECTORY", AccessDenied),
        ("SQLITE_CANTOPEN", AccessDenied),
        ("SQLITE_ERROR", OperationalError),
    ],
)
def test_error_that_may_pass_is_told_from_one_that_will_not(path: Path, code: str, kind: type[Exception]) -> None:
    store = SQLiteResults(path)
    flow = store.load(["t-1"])
    call = next(flow)
    assert isinstance(call, Call)
    with pytest.raises(OperationalError) as raised:
        flow.throw(CallError(call, code, f"{path}: the file isn't writable", Trouble.REFUSED))
    assert type(raised.value) is kind
