"""The result store in PostgreSQL's tables of our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.payloads.compressed_results import CompressedResults
from taskq_cloud.core.records.record import STARTED, SUCCESS
from taskq_cloud.stores.results.postgresql import PostgreSQLResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import driving
from tests.stores.results.shared_store import SharedStoreContract
from tests.stores.results.sql_databases import postgresql_database, postgresql_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(server_url: Callable[[str], str]) -> Iterator[str]:
    """The URL of a database of this module's own."""
    with postgresql_database(server_url("postgresql")) as url:
        yield url


class TestPostgreSQL(SharedStoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, database: str, shared_clock: FakeClock) -> PostgreSQLResults:
        return PostgreSQLResults(database, clock=shared_clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def count_rows(database: str, table: str) -> int:
    server, _, name = database.rpartition("/")
    with closing(postgresql_server(server, name)) as connection:
        rows: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return rows


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_caller_is_told_of_the_end_of_a_task(database: str, driver: str) -> None:
    waiting, working = PostgreSQLResults(database), PostgreSQLResults(database)
    running, done = a_record(STARTED), a_record()
    listener = Listener()
    with driving(driver, waiting.services) as run, driving("sync", working.services) as work, closing(listener):
        assert run(waiting.listen([done.id, running.id], listener))
        work(working.save([running]))
        assert not listener.wait(0.01)
        work(working.save([done]))
        assert listener.wait(10)


def test_expired_rows_are_removed(database: str, clock: FakeClock) -> None:
    store = PostgreSQLResults(database, clock=clock)
    with driving("sync", store.services) as run:
        run(store.save([a_record(expires_at=clock() + 10) for _ in range(50)]))
        before = count_rows(database, "taskq_results")
        for number in range(3):
            run(store.join("join", str(number), 9, clock() + 10))
        run(store.claim("key of this test", "owner", 10))
        clock.advance(16 * 86_400)
        for _ in range(8):
            run(store.save([a_record(expires_at=clock() + 10) for _ in range(10)]))
        for number in range(60):
            run(store.join(f"join {number}", "0", 2, None))
        run(store.claim("another key", "owner", 10))
    assert count_rows(database, "taskq_results") == before - 50 + 80
    assert count_rows(database, "taskq_join_members WHERE join_id = 'join'") == 0
    assert count_rows(database, "taskq_joins WHERE id = 'join'") == 0
    assert count_rows(database, "taskq_claims WHERE key = 'key of this test'") == 0


def race(url: str, owner: int, ids: list[str]) -> tuple[list[bool], list[int | None], list[bool]]:
    """Compete with other clients for the records, locks and joins of some ids."""
    store = store_from_url(url, {})
    with driving("sync", store.services) as run:
        saved = [run(store.save([a_record(SUCCESS, value=owner, id=each)]))[0] for each in ids]
        fences = [run(store.claim(each, f"owner {owner}", 3600)) for each in ids]
        joined = [run(store.join(each, str(owner), 3, None)) for each in ids]
    return saved, fences, joined


@pytest.mark.parametrize("scheme", ["postgresql", "db+postgresql"])
def test_clients_that_create_the_tables_at_once_agree_on_one_winner(
    scheme: str, server_url: Callable[[str], str]
) -> None:
    ids = [f"task-{number}" for number in range(20)]
    with (
        postgresql_database(server_url("postgresql")) as url,
        ThreadPoolExecutor(3) as threads,
    ):
        racing = [threads.submit(race, f"{scheme}{url.removeprefix('postgresql')}", each, ids) for each in range(3)]
        saved, fences, joined = zip(*(each.result() for each in racing), strict=True)

    for position, task_id in enumerate(ids):
        assert sorted(answers[position] for answers in saved) == [False, False, True], task_id
        assert sorted((answers[position] for answers in fences), key=str) == [1, None, None], task_id
        assert sorted(answers[position] for answers in joined) == [False, False, True], task_id


def test_compressed_record_is_stored_compressed(database: str) -> None:
    store, record = PostgreSQLResults(database), a_record(value="x" * 10_000)
    with driving("sync", store.services) as run:
        run(CompressedResults(store, "gzip").save([record]))
        assert run(store.load([record.id])) == {record.id: record}
    assert count_rows(database, f"taskq_results WHERE id = '{record.id}' AND length(packed) < 500") == 1


@pytest.mark.parametrize("scheme", ["postgresql", "db+postgresql"])
def test_texts_are_kept_by_a_database_of_another_encoding(scheme: str, server_url: Callable[[str], str]) -> None:
    with postgresql_database(server_url("postgresql"), "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        store = store_from_url(f"{scheme}{url.removeprefix('postgresql')}", {})
        record = a_record(id="größe", value="你好")
        with driving("sync", store.services) as run:
            assert run(store.save([record])) == [True]
            assert run(store.load([record.id])) == {record.id: record}


def test_first_host_that_answers_is_used(database: str) -> None:
    absent = database.replace(re.findall(r":(\d+)/", database)[0], "1")
    store = store_from_url(f"{absent};{database}", {})
    with driving("sync", store.services) as run:
        assert run(store.save([a_record()])) == [True]
