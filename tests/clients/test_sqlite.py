"""Test the SQLite client: transactions, errors, threads, forks and event loops."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients import sqlite as clients
from taskq_cloud.core.flows import Call, CallError, Trouble

SCHEMA = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, word TEXT NOT NULL)"
INSERT = "INSERT INTO numbers (word) VALUES (?) RETURNING number"
COUNT = "SELECT count(*) AS numbers FROM numbers"


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


def test_full_disk_is_refused_with_the_remedy(client: clients.SQLiteClient) -> None:
    client.call(transaction((INSERT, ("one",))))
    client.call(query(("PRAGMA max_page_count = 4", ())))
    with pytest.raises(CallError, match="disk is full: free some space") as raised:
        client.call(transaction((INSERT, ("x" * 1_000_000,))))
    assert raised.value.trouble is Trouble.REFUSED
    assert client.call(query((COUNT, ()))) == [[{"numbers": 1}]]


def test_locked_database_is_transient(
    client: clients.SQLiteClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "BUSY_TIMEOUT_SECONDS", 0.01)
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
    with pytest.raises(CallError, match="transaction or query"):
        client.call(Call("sqlite", "vacuum", {}))


def test_many_threads_share_one_client(client: clients.SQLiteClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(client.call, [transaction((INSERT, ("word",)))] * 100))
    assert sorted(answer[0][0]["number"] for answer in answers) == list(range(1, 101))


def test_many_clients_create_one_database_at_once(path: Path) -> None:
    opened = [clients.open_client("sqlite", {"path": str(path)}) for _ in range(8)]
    gate = threading.Barrier(8)

    def write(client: clients.SQLiteClient) -> list[list[dict[str, Any]]]:
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
