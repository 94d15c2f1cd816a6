"""Test the SQLite client: transactions, errors, threads, forks and event loops."""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients import sqlite as clients
from taskq_cloud.clients import sqlite_files
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import NO_ANSWER_YET, Call, CallError, Trouble, Within
from taskq_cloud.core.ports import Service

SCHEMA = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, word TEXT NOT NULL)"
INSERT = "INSERT INTO numbers (word) VALUES (?) RETURNING number"
COUNT = "SELECT count(*) AS numbers FROM numbers"

LONG = 3600
"""Seconds that no test takes."""


def transaction(*statements: Any) -> Call:
    return Call("sqlite", "transaction", {"schema": SCHEMA, "statements": statements})


def query(*statements: Any) -> Call:
    return Call("sqlite", "query", {"schema": SCHEMA, "statements": statements})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "for" / "it.db"


@pytest.fixture
def client(path: Path) -> Iterator[clients.SQLiteClient]:
    client = clients.open_client("sqlite", {"path": str(path)})
    yield client
    client.close()


def test_each_statement_returns_its_rows(client: clients.SQLiteClient) -> None:
    answer = client.call(
        transaction((INSERT, ("one",)), (INSERT, ("two",)), ("DELETE FROM numbers WHERE word = 'x'", ()))
    )
    assert answer == [[{"number": 1}], [{"number": 2}], []]
    assert client.call(query(("SELECT * FROM numbers WHERE word = :word", {"word": "two"}))) == [
        [{"number": 2, "word": "two"}]
    ]


def test_failed_statement_rolls_back_the_others(client: clients.SQLiteClient) -> None:
    with pytest.raises(CallError) as raised:
        client.call(transaction((INSERT, ("one",)), (INSERT, (None,))))
    assert raised.value.trouble is Trouble.REFUSED
    assert raised.value.code == "SQLITE_CONSTRAINT_NOTNULL"
    assert client.call(query((COUNT, ()))) == [[{"numbers": 0}]]


def test_wrong_statement_is_refused_and_the_client_still_works(client: clients.SQLiteClient, path: Path) -> None:
    with pytest.raises(CallError, match="no such column: nonsense") as raised:
        client.call(query(("SELECT nonsense FROM numbers", ())))
    assert raised.value.trouble is Trouble.REFUSED
    assert str(path) in raised.value.message
    with pytest.raises(CallError):
        client.call(transaction((INSERT, ("one", "too many"))))
    assert client.call(transaction((INSERT, ("one",)))) == [[{"number": 1}]]


def test_full_disk_is_transient_and_names_the_remedy(client: clients.SQLiteClient) -> None:
    client.call(transaction((INSERT, ("one",))))
    client.call(query(("PRAGMA max_page_count = 4", ())))
    with pytest.raises(CallError, match="disk is full: free some space") as raised:
        client.call(transaction((INSERT, ("x" * 1_000_000,))))
    assert raised.value.trouble is Trouble.TRANSIENT
    assert client.call(query((COUNT, ()))) == [[{"numbers": 1}]]


def test_locked_database_is_transient(
    client: clients.SQLiteClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_busy_timeout_seconds", 0.01)
    client.call(transaction((INSERT, ("one",))))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CallError) as raised:
            client.call(transaction((INSERT, ("two",))))
        assert raised.value.trouble is Trouble.TRANSIENT
        assert client.call(query((COUNT, ()))) == [[{"numbers": 1}]], "a reader doesn't wait for a writer"
        other.execute("ROLLBACK")
    assert client.call(transaction((INSERT, ("two",)))) == [[{"number": 2}]]


def test_database_is_in_wal_mode_with_full_synchronous(client: clients.SQLiteClient) -> None:
    client.call(transaction())
    [[journal], [synchronous]] = client.call(query(("PRAGMA journal_mode", ()), ("PRAGMA synchronous", ())))
    assert journal == {"journal_mode": "wal"}
    assert synchronous == {"synchronous": 2}, "2 is FULL"


def test_unknown_operation_is_refused(client: clients.SQLiteClient) -> None:
    with pytest.raises(CallError, match="transaction, query or listen"):
        client.call(Call("sqlite", "vacuum", {}))


def test_many_threads_share_one_client(client: clients.SQLiteClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(client.call, [transaction((INSERT, ("word",)))] * 100))
    assert sorted(answer[0][0]["number"] for answer in answers) == list(range(1, 101))


def test_many_clients_create_one_database_at_once(path: Path) -> None:
    opened = [clients.open_client("sqlite", {"path": str(path)}) for _ in range(8)]
    gate = threading.Barrier(8)

    def write(client: clients.SQLiteClient) -> Any:
        gate.wait(10)
        return client.call(transaction((INSERT, ("word",))))

    try:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(write, opened))
    finally:
        for client in opened:
            client.close()
    assert sorted(answer[0][0]["number"] for answer in answers) == list(range(1, 9))


def test_closed_client_opens_again(client: clients.SQLiteClient) -> None:
    client.call(transaction((INSERT, ("one",))))
    client.close()
    assert client.call(query((COUNT, ()))) == [[{"numbers": 1}]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_client_works_on_both_sides_of_a_fork(client: clients.SQLiteClient) -> None:
    client.call(transaction((INSERT, ("before",))))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.call(transaction((INSERT, ("in the child",))))
            client.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    client.call(transaction((INSERT, ("in the parent",))))
    assert client.call(query((COUNT, ()))) == [[{"numbers": 3}]]


async def test_async_client_does_not_block_the_event_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await clients.open_async_client("sqlite", {"path": str(path)})
    await client.call(transaction((INSERT, ("one",))))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(client.call(transaction((INSERT, ("two",)))))
        await asyncio.sleep(0)
        assert not waiting.done()
        other.execute("ROLLBACK")
    assert await waiting == [[{"number": 2}]]
    await client.close()


# -- who can read the file


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("open_umask")
def test_created_files_and_folders_are_for_their_user_alone(client: clients.SQLiteClient, path: Path) -> None:
    client.call(transaction((INSERT, ("a",))))
    files = sorted(path.parent.iterdir())
    assert len(files) > 1, "the write-ahead log is there too"
    assert {each.name: mode_of(each) for each in files} == {each.name: 0o600 for each in files}
    assert [mode_of(each) for each in (path.parent, path.parent.parent)] == [0o700, 0o700]


def test_permissions_of_existing_file_and_folder_are_left(client: clients.SQLiteClient, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    path.chmod(0o660)
    path.parent.chmod(0o750)
    client.call(transaction((INSERT, ("a",))))
    assert (mode_of(path), mode_of(path.parent)) == (0o660, 0o750)


@pytest.mark.parametrize("exists", [True, False])
def test_symbolic_link_in_place_of_the_file_is_refused(
    client: clients.SQLiteClient, path: Path, tmp_path: Path, exists: bool
) -> None:
    target = tmp_path / "elsewhere.db"
    if exists:
        target.touch()
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    with pytest.raises(CallError, match=r"symbolic link, which is not followed.*elsewhere\.db") as caught:
        client.call(transaction((INSERT, ("a",))))
    assert caught.value.trouble is Trouble.REFUSED
    assert target.exists() == exists and (not exists or target.stat().st_size == 0)


def test_symbolic_link_in_place_of_the_own_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".taskq").symlink_to(tmp_path / "elsewhere")
    client = clients.open_client("sqlite", {"path": str(tmp_path / ".taskq" / "broker.db")})
    with pytest.raises(CallError, match=r"\.taskq is a symbolic link"):
        client.call(transaction((INSERT, ("a",))))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_folder_behind_a_symbolic_link_is_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    client = clients.open_client("sqlite", {"path": str(tmp_path / "link" / "broker.db")})
    client.call(transaction((INSERT, ("a",))))
    client.close()
    assert (tmp_path / "data" / "broker.db").exists()


class Interruption(Exception):
    """An exception that strikes from outside: of a signal handler, or of a time limit."""


def is_free(path: Path) -> bool:
    """Whether another process could write to the database at once."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


def strike_while_waiting_for_lock(client: clients.SQLiteClient, path: Path, interrupt: Callable[[int], object]) -> None:
    """Interrupt a call of this thread while its BEGIN waits for another connection's transaction."""
    client.call(transaction())
    statements: queue.SimpleQueue[str] = queue.SimpleQueue()
    assert client._connection is not None
    client._connection.set_trace_callback(statements.put)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        caller = threading.get_ident()

        def interrupt_and_unlock() -> None:
            assert statements.get(timeout=10) == "BEGIN IMMEDIATE"
            interrupt(caller)
            other.execute("ROLLBACK")

        interrupter = threading.Thread(target=interrupt_and_unlock)
        interrupter.start()
        try:
            client.call(transaction((INSERT, ("one",))))
        finally:
            interrupter.join(10)


def check_interrupted_call_left_nothing(client: clients.SQLiteClient, path: Path) -> None:
    assert is_free(path), "the transaction of the interrupted call is still open"
    assert client.call(query((COUNT, ()))) == [[{"numbers": 0}]]
    assert client.call(transaction((INSERT, ("two",)))) == [[{"number": 1}]]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system has no signals for threads")
def test_signal_handler_that_raises_during_begin_leaves_database_unlocked(
    client: clients.SQLiteClient, path: Path
) -> None:
    def handle(number: int, frame: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(Interruption):
            strike_while_waiting_for_lock(client, path, lambda caller: signal.pthread_kill(caller, signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    check_interrupted_call_left_nothing(client, path)


def test_limit_thrown_into_thread_during_begin_leaves_database_unlocked(
    client: clients.SQLiteClient, path: Path
) -> None:
    def throw(caller: int) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(caller), ctypes.py_object(Interruption))

    caught: list[BaseException] = []

    def call() -> None:
        try:
            strike_while_waiting_for_lock(client, path, throw)
        except Interruption as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    assert len(caught) == 1
    check_interrupted_call_left_nothing(client, path)


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_deleted_file_is_made_anew_and_shared_with_other_processes(
    client: clients.SQLiteClient, path: Path, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    client.call(transaction((INSERT, ("in the old file",))))
    for each in path.parent.iterdir():
        each.unlink()
    with closing(clients.open_client("sqlite", {"path": str(path)})) as other:
        if replaced:
            other.call(transaction((INSERT, ("in the new file",))))
            assert client.call(query((COUNT, ()))) == [[{"numbers": 1}]]
        assert client.call(transaction((INSERT, ("by the first client",))))
        assert other.call(query(("SELECT word FROM numbers ORDER BY number", ())))[0][-1] == {
            "word": "by the first client"
        }
        assert other.call(query(("PRAGMA integrity_check", ()))) == [[{"integrity_check": "ok"}]]
    records = [record for record in caplog.records if getattr(record, "action", "") == "sqlite.file_replaced"]
    assert len(records) == 1
    assert str(path) in records[0].getMessage()


def test_query_of_deleted_file_reads_none_of_its_rows(client: clients.SQLiteClient, path: Path) -> None:
    client.call(transaction((INSERT, ("in the old file",))))
    path.unlink()
    assert client.call(query((COUNT, ()))) == [[{"numbers": 0}]]
    assert path.exists()


# -- the size of the file


def pragma(client: clients.SQLiteClient, name: str) -> Any:
    [[row]] = client.call(query((f"PRAGMA {name}", ())))
    return row[name]


def test_file_that_is_mostly_free_shrinks_in_steps(
    client: clients.SQLiteClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_files, "LEAST_FREE_PAGES", 100)
    client.call(transaction(*[(INSERT, ("x" * 3000,))] * 2000))
    client.call(transaction(("DELETE FROM numbers WHERE number > 200", ())))
    before, sizes = pragma(client, "page_count"), []
    for _ in range(40 * sqlite_files.CALLS_BETWEEN_STEPS):
        client.call(query((COUNT, ())))
        sizes.append(pragma(client, "page_count"))
    largest_step = max(earlier - later for earlier, later in zip([before, *sizes], sizes, strict=False))
    assert 0 < largest_step <= sqlite_files.PAGES_OF_A_STEP + 1, "a page that tells where other pages are may go too"
    assert pragma(client, "freelist_count") * 2 <= sizes[-1] + 2 < before / 4
    assert client.call(query((COUNT, ()), ("PRAGMA integrity_check", ()))) == [
        [{"numbers": 200}],
        [{"integrity_check": "ok"}],
    ]
    client.call(query(("PRAGMA wal_checkpoint(TRUNCATE)", ())))


def test_committed_call_is_neither_repeated_nor_failed_when_the_file_cannot_shrink(
    client: clients.SQLiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.call(transaction((INSERT, ("first",))))
    assert client._connection is not None
    refused: list[str] = []

    def authorize(_action: int, name: str | None, *_more: str | None) -> int:
        if name != "freelist_count":
            return sqlite3.SQLITE_OK
        refused.append(name)
        return sqlite3.SQLITE_DENY

    client._connection.set_authorizer(authorize)
    monkeypatch.setattr(client._shrinking, "_calls_left", 1)
    client.call(transaction((INSERT, ("second",))))
    assert refused
    assert client.call(query((COUNT, ()))) == [[{"numbers": 2}]]


def test_file_with_few_free_pages_keeps_them_for_what_comes_next(client: clients.SQLiteClient) -> None:
    client.call(transaction(*[(INSERT, ("x" * 3000,))] * 1000))
    client.call(transaction(("DELETE FROM numbers", ())))
    before = pragma(client, "page_count")
    for _ in range(3 * sqlite_files.CALLS_BETWEEN_CHECKS):
        client.call(query((COUNT, ())))
    assert pragma(client, "page_count") == before
    client.call(transaction(*[(INSERT, ("x" * 3000,))] * 1000))
    assert pragma(client, "page_count") == before, "the pages are used again"


def test_file_of_earlier_version_is_used_as_it_is(client: clients.SQLiteClient, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as earlier:
        earlier.execute("PRAGMA journal_mode = WAL")
        earlier.execute(SCHEMA)
    client.call(transaction(*[(INSERT, ("x" * 3000,))] * 4000))
    client.call(transaction(("DELETE FROM numbers", ())))
    for _ in range(2 * sqlite_files.CALLS_BETWEEN_CHECKS):
        client.call(query((COUNT, ())))
    assert pragma(client, "auto_vacuum") == 0
    assert client._connection is not None
    assert sqlite_files.shrink(client._connection), "nothing is left to do"
    assert client.call(transaction((INSERT, ("one",))))


# -- leases and other transactions that a loss of power may undo


def run_transaction(client: clients.SQLiteClient, *, durable: bool) -> None:
    client.call(Call("sqlite", "transaction", {"schema": SCHEMA, "statements": (), "durable": durable}))


def test_transaction_says_whether_it_waits_for_the_disk(
    client: clients.SQLiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LONGEST_LOSS_SECONDS", LONG)
    run_transaction(client, durable=False)  # the first one is durable in any case
    asked: list[tuple[int, int]] = []
    for durable in (True, False, False, True):
        run_transaction(client, durable=durable)
        asked.append((durable, pragma(client, "synchronous")))
    assert asked == [(True, 2), (False, 1), (False, 1), (True, 2)], "2 is FULL, and 1 is NORMAL"


def test_first_lease_of_a_connection_waits_for_the_disk(
    client: clients.SQLiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LONGEST_LOSS_SECONDS", LONG)
    asked: list[int] = []
    for _ in range(2):
        run_transaction(client, durable=True)
        for _ in range(2):
            run_transaction(client, durable=False)
            asked.append(pragma(client, "synchronous"))
        client.close()
    assert asked == [2, 1] * 2, "2 is FULL, and 1 is NORMAL"


def test_lease_long_after_the_last_durable_transaction_waits_for_the_disk(
    client: clients.SQLiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LONGEST_LOSS_SECONDS", LONG)
    run_transaction(client, durable=False)
    client.call(query((COUNT, ())))
    run_transaction(client, durable=False)
    assert pragma(client, "synchronous") == 1, "1 is NORMAL"
    client._durable_at -= LONG
    client.call(query((COUNT, ())))
    run_transaction(client, durable=False)
    assert pragma(client, "synchronous") == 2, "2 is FULL"


@pytest.mark.parametrize("durable", [True, False])
def test_interruption_between_two_kinds_of_transactions_costs_no_durability(
    client: clients.SQLiteClient, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LONGEST_LOSS_SECONDS", LONG)
    run_transaction(client, durable=False)
    run_transaction(client, durable=not durable)
    client._connection = Interrupted(client._connection)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        run_transaction(client, durable=durable)
    client._connection = client._connection.connection  # type: ignore[union-attr]
    run_transaction(client, durable=not durable)
    assert pragma(client, "synchronous") == (1 if durable else 2), "2 is FULL, and 1 is NORMAL"


class Interrupted:
    """A connection in whose next statement a signal handler raises, just when it is done."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def execute(self, sql: str) -> None:
        self.connection.execute(sql)
        raise KeyboardInterrupt


# -- on an event loop


def quick(*statements: Any) -> Call:
    return Call("sqlite", "query", {"schema": SCHEMA, "statements": statements, "quick": True})


async def test_quick_query_runs_without_a_thread_unless_a_call_is_under_way(path: Path) -> None:
    client = await clients.open_async_client("sqlite", {"path": str(path)})
    assert await client.call(quick((COUNT, ()))) == [[{"numbers": 0}]], "it opens the file, in a thread"
    with pytest.raises(StopIteration):  # it is done without a turn of the loop
        client.call(quick((COUNT, ()))).send(None)
    client._sqlite.lock_for_fork()
    waiting = asyncio.create_task(client.call(quick((COUNT, ()))))
    await asyncio.sleep(0)
    assert not waiting.done()
    client._sqlite.unlock_after_fork()
    assert await waiting == [[{"numbers": 0}]]
    await client.close()


OTHER_SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL)"


async def is_made_in_a_thread(client: clients.LoopClient, call: Call) -> bool:
    """Whether a call gives the event loop a turn, whatever its answer."""
    made = asyncio.ensure_future(client.call(call))
    await asyncio.sleep(0)
    in_a_thread = not made.done()
    await asyncio.wait([made])
    return in_a_thread


async def test_quick_query_that_has_to_wait_for_a_writer_runs_in_a_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "BUSY_TIMEOUT_SECONDS", 0.05)
    client = await clients.open_async_client("sqlite", {"path": str(path)})
    await client.call(quick((COUNT, ())))
    with_new_tables = Call("sqlite", "query", {"schema": OTHER_SCHEMA, "statements": (), "quick": True})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not await is_made_in_a_thread(client, quick((COUNT, ()))), "a reader doesn't wait for a writer"
        assert await is_made_in_a_thread(client, with_new_tables)
        other.execute("ROLLBACK")
    assert await is_made_in_a_thread(client, with_new_tables)
    assert not await is_made_in_a_thread(client, with_new_tables), "the tables are known now"
    await asyncio.to_thread(path.rename, path.with_name("moved.db"))
    assert await is_made_in_a_thread(client, quick((COUNT, ()))), "the file is made anew"
    await client.close()


async def test_quick_query_that_fails_is_repeated_in_a_thread(path: Path) -> None:
    client = await clients.open_async_client("sqlite", {"path": str(path)})
    await client.call(quick((COUNT, ())))
    wrong = quick(("SELECT number FROM nowhere", ()))
    assert client._sqlite.call_at_once(wrong) is None
    with pytest.raises(CallError, match="no such table"):
        await client.call(wrong)
    await client.close()


def test_caller_who_waits_a_limited_time_waits_for_no_lock(path: Path) -> None:
    connections = Connections({"sqlite": Service("sqlite", (("path", str(path)),))})
    connections.perform(transaction((INSERT, ("one",))))
    client: Any = connections._client("sqlite")
    client.lock_for_fork()  # another thread's call is under way
    [answer] = connections.perform(Within([query((COUNT, ()))], 0.01))
    assert (type(answer), answer.code) == (CallError, NO_ANSWER_YET)
    client.unlock_after_fork()
    assert connections.perform(Within([query((COUNT, ()))], 5)) == [[[{"numbers": 1}]]]
    connections.close()


def test_caller_who_waits_a_limited_time_does_not_wait_for_the_file_to_open(path: Path) -> None:
    connections = Connections({"sqlite": Service("sqlite", (("path", str(path)),))})
    connections.perform(transaction((INSERT, ("one",))))
    connections.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        [answer] = connections.perform(Within([query((COUNT, ()))], 0.01))
        assert (type(answer), answer.code) == (CallError, NO_ANSWER_YET)
        other.execute("ROLLBACK")
    assert connections.perform(Within([query((COUNT, ()))], 5)) == [[[{"numbers": 1}]]]
    connections.close()


def test_caller_who_waits_a_limited_time_needs_no_thread(path: Path) -> None:
    connections = Connections({"sqlite": Service("sqlite", (("path", str(path)),))})
    threads: list[str] = []

    def note() -> int:
        threads.append(threading.current_thread().name)
        return 1

    connections.perform(transaction((INSERT, ("one",))))
    client: Any = connections._client("sqlite")
    client._connection.create_function("note", 0, note)
    answers = connections.perform(Within([query(("SELECT note() AS noted", ()))], 5))
    assert answers == [[[{"noted": 1}]]]
    assert threads == [threading.current_thread().name]
    connections.close()
