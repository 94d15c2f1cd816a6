"""Databases in trouble: refused logins, missing databases and permissions, lost connections, servers that restart."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emulators.process import Emulator
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.records.record import STARTED
from taskq_cloud.core.servers import sql_drivers as urls
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    MissingExtra,
    OperationalError,
    PayloadTooLarge,
    SoftTimeLimitExceeded,
    StoreNotFound,
    Unreachable,
)
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.stores.results.sqlalchemy import SQLAlchemyResults
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import driving
from tests.stores.results.sql_databases import (
    mariadb_database,
    mariadb_server,
    postgresql_database,
    postgresql_server,
)

# Drivers leave sockets that the server has closed to the garbage collector, which finds them in the test that it is of.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

STORES = ("postgresql", "db+postgresql", "db+mysql")


@pytest.fixture(autouse=True)
def _collect_sockets() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def servers(server_url: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Databases of this module's own: the scheme of a store -> the store's URL."""
    with ExitStack() as stack:
        postgresql = stack.enter_context(postgresql_database(server_url("postgresql")))
        mariadb = stack.enter_context(mariadb_database(server_url("mariadb")))
        yield {"postgresql": postgresql, "db+postgresql": f"db+{postgresql}", "db+mysql": f"db+{mariadb}"}


def end_connections(url: str) -> None:
    """End all connections to a database but this one, as its administrator would."""
    server, _, name = url.removeprefix("db+").rpartition("/")
    if "postgresql" in url:
        with closing(postgresql_server(server)) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        return
    with closing(mariadb_server(server)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")


@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("scheme", STORES)
def test_lost_connections_are_replaced(servers: dict[str, str], scheme: str, driver: str) -> None:
    store, record = store_from_url(servers[scheme], {}), a_record()
    with driving(driver, store.services) as run:
        run.together([store.save([a_record()]) for _ in range(3)])
        end_connections(servers[scheme])
        assert run(store.save([record])) == [True]
        end_connections(servers[scheme])
        assert run(store.load([record.id])) == {record.id: record}


@pytest.mark.parametrize(("scheme", "sleep"), [("db+postgresql", "pg_sleep(30)"), ("db+mysql", "SLEEP(30)")])
def test_exception_that_is_raised_into_a_call_comes_out_as_it_is(
    servers: dict[str, str], scheme: str, sleep: str, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise SoftTimeLimitExceeded

    store, record = store_from_url(servers[scheme], {}), a_record()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with closing(Connections(store.services)) as connections:
            connections.run(store.save([a_record()]))
            call = Call(next(iter(store.services)), "query", {"statements": [(f"SELECT {sleep}", {})]})
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(SoftTimeLimitExceeded):
                connections.perform(call)
            assert connections.run(store.save([record])) == [True]
            assert connections.run(store.load([record.id])) == {record.id: record}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not caplog.records


@pytest.mark.parametrize(("scheme", "sleep"), [("db+postgresql", "pg_sleep(30)"), ("db+mysql", "SLEEP(30)")])
def test_call_on_an_event_loop_waits_a_limited_time(
    servers: dict[str, str], scheme: str, sleep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_cloud.clients.sqlalchemy.ANSWER_TIMEOUT_SECONDS", 1)
    store, record = store_from_url(servers[scheme], {}), a_record()

    async def main() -> None:
        connections = AsyncConnections(store.services)
        await connections.run(store.save([a_record()]))
        call = Call(next(iter(store.services)), "query", {"statements": [(f"SELECT {sleep}", {})]})
        with pytest.raises(CallError, match="no answer in 1 s") as raised:
            await connections.perform(call)
        assert raised.value.trouble is Trouble.TRANSIENT
        assert await connections.run(store.save([record])) == [True]
        await connections.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def failure_of(url: str, options: dict[str, Any] | None = None, driver: str = "sync") -> OperationalError:
    """The error of saving a record, without a second attempt."""
    store = store_from_url(url, options or {})

    async def save() -> None:
        connections = AsyncConnections(store.services)
        try:
            await connections.run(store.save([a_record()]), longest_seconds=0.5)
        finally:
            await connections.close()

    with closing(Connections(store.services)) as connections, pytest.raises(OperationalError) as raised:
        asyncio.run(save()) if driver == "async" else connections.run(store.save([a_record()]), longest_seconds=0.5)
    assert "s3cret" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("scheme", STORES)
def test_missing_database_is_named(servers: dict[str, str], scheme: str, driver: str) -> None:
    server = servers[scheme].rpartition("/")[0]
    error = failure_of(f"{server}/absent", driver=driver)
    assert type(error) is StoreNotFound
    assert "absent" in str(error)
    assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_wrong_password_is_refused(servers: dict[str, str], driver: str) -> None:
    error = failure_of(servers["db+mysql"].replace("taskq:taskq@", "taskq:s3cret@"), driver=driver)
    assert type(error) is AccessDenied
    assert "check the user and the password" in str(error)


@pytest.mark.parametrize("scheme", ["postgresql", "db+postgresql"])
def test_unknown_role_is_refused(servers: dict[str, str], scheme: str) -> None:
    error = failure_of(servers[scheme].replace("taskq@", "nobody:s3cret@"))
    assert type(error) is AccessDenied
    assert "nobody" in str(error)


@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("scheme", STORES)
def test_server_that_is_not_there_is_unreachable(scheme: str, driver: str) -> None:
    error = failure_of(f"{scheme}://taskq:s3cret@127.0.0.1:1/shop", driver=driver)
    assert type(error) is Unreachable
    assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("scheme", ["postgresql", "db+postgresql"])
def test_user_without_permissions_is_told_what_is_missing(servers: dict[str, str], scheme: str) -> None:
    server, _, name = servers["postgresql"].rpartition("/")
    with postgresql_database(server) as url, closing(postgresql_server(server, url.rpartition("/")[2])) as connection:
        role = f"guest_{name}"
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            error = failure_of(f"{'db+' * scheme.startswith('db')}{url}".replace("taskq@", f"{role}@"))
            assert type(error) is AccessDenied
            assert "permission denied" in str(error)
            assert "tables" in str(error)
        finally:
            connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("scheme", ["db+postgresql", "db+mysql", "db+sqlite"])
def test_missing_tables_are_an_error_without_create_tables(
    servers: dict[str, str], scheme: str, tmp_path: Path
) -> None:
    url = servers.get(scheme, f"db+sqlite:///{tmp_path / 'results.db'}")
    options = {"create_tables": False, "table_names": {"task": "absent_tasks"}}
    error = failure_of(url, options)
    assert type(error) is StoreNotFound
    assert "CREATE TABLE" in str(error)
    assert "absent_tasks" in str(error)


@pytest.mark.parametrize("scheme", ["db+postgresql", "db+mysql"])
def test_server_in_read_only_mode_is_told(servers: dict[str, str], scheme: str) -> None:
    session = {
        "db+postgresql": {"options": "-c default_transaction_read_only=on"},
        "db+mysql": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
    }[scheme]
    with driving("sync", (store := store_from_url(servers[scheme], {})).services) as run:
        run(store.save([a_record()]))
    error = failure_of(servers[scheme], {"engine_options": {"connect_args": session}})
    assert type(error) is AccessDenied
    assert "name the primary" in str(error)


def test_table_that_is_removed_is_created_again(servers: dict[str, str]) -> None:
    url = servers["db+postgresql"]
    store = SQLAlchemyResults(url.removeprefix("db+"), {"table_names": {"task": "removed_tasks"}})
    server, _, name = url.removeprefix("db+").rpartition("/")
    with driving("sync", store.services) as run:
        run(store.save([a_record()]))
        with closing(postgresql_server(server, name)) as connection:
            connection.execute("DROP TABLE removed_tasks")
        with pytest.raises(StoreNotFound):
            run(store.load(["task"]))
        assert run(store.save([a_record()])) == [True]


def test_value_that_celerys_column_cannot_hold_is_told(servers: dict[str, str]) -> None:
    url = servers["db+mysql"]
    server, _, name = url.removeprefix("db+").rpartition("/")
    with closing(mariadb_server(server, name)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE narrow (id INTEGER AUTO_INCREMENT PRIMARY KEY, task_id VARCHAR(155) UNIQUE, result BLOB)"
        )
        store = SQLAlchemyResults(url.removeprefix("db+"), {"table_names": {"task": "narrow"}})
        with driving("sync", store.services) as run:
            assert run(store.save([a_record()])) == [True]
            with pytest.raises(PayloadTooLarge, match="too small"):
                run(store.save([a_record(value="x" * 100_000)]))


def test_deadlocks_are_transient() -> None:
    from sqlalchemy.exc import OperationalError as SQLError

    from taskq_cloud.clients.sql_errors import database_error

    class Driver(Exception):
        pass

    call = Call("s", "transaction")
    error = SQLError("SELECT 1", {}, Driver(1213, "Deadlock found when trying to get lock"))
    assert database_error(call, error, "here").trouble is Trouble.TRANSIENT
    serialization = Driver("could not serialize access")
    serialization.sqlstate = "40001"  # type: ignore[attr-defined]
    assert database_error(call, SQLError("SELECT 1", {}, serialization), "here").trouble is Trouble.TRANSIENT


@pytest.mark.parametrize("scheme", ["postgresql", "db+postgresql", "db+mysql"])
def test_batches_of_the_same_records_in_other_orders_do_not_fail(servers: dict[str, str], scheme: str) -> None:
    store = store_from_url(servers[scheme], {})
    ids = [a_record().id for _ in range(20)]
    batches = [
        [a_record(STARTED, number, id=each) for each in (ids if number % 2 else ids[::-1])] for number in range(6)
    ]
    with driving("sync", store.services) as run:
        run.together([store.save(batch) for batch in batches])
        assert set(run(store.load(ids))) == set(ids)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("db+oracle://host/db", "db\\+mariadb"),
        ("db+sqlite://", "names no file"),
        ("db+sqlite:///:memory:", "names no file"),
    ],
)
def test_url_that_cannot_be_served_is_refused(url: str, said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=said):
        store_from_url(url, {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table_name": {}}, "table_names"),
        ({"table_names": {"task": "a; drop"}}, "can't be the name"),
        ({"engine_options": {"pool_sise": 2}}, "pool_sise"),
        ({"engine_callback": "shop.absent"}, "shop.absent"),
    ],
)
def test_option_that_is_wrong_is_refused(options: dict[str, Any], said: str) -> None:
    def open_store() -> None:
        Connections(store_from_url("db+postgresql://host/db", options).services).open()

    with pytest.raises(ImproperlyConfigured, match=said):
        open_store()


def test_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda _name: None)
    connections = Connections(store_from_url("db+mysql://host/db", {}).services)
    with pytest.raises(MissingExtra, match=r"taskq-cloud\[mysql\]"):
        connections.open()


def test_restarted_server_has_what_was_saved(own_server: Callable[[str], Emulator]) -> None:
    server = own_server("postgresql")
    with closing(postgresql_server(server.url)):
        pass
    stores = [store_from_url(f"{prefix}{server.url}/postgres", {}) for prefix in ("", "db+")]
    records = [a_record() for _ in stores]
    with ExitStack() as stack:
        runs = [stack.enter_context(driving("sync", store.services)) for store in stores]
        for store, run, record in zip(stores, runs, records, strict=True):
            assert run(store.save([record])) == [True]
        server.kill()
        waiting = threading.Thread(target=server.start)
        waiting.start()
        for store, run, record in zip(stores, runs, records, strict=True):
            assert _patiently(run, partial(store.load, [record.id])) == {record.id: record}
        waiting.join()


def _patiently(run: Any, flow: Callable[[], Any]) -> Any:
    """Run a flow until the server answers, as a worker does."""
    for _ in range(100):
        try:
            return run(flow())
        except Unreachable:
            continue
    raise AssertionError("the server did not come back")
