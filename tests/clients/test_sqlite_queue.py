"""Test the queue of writers: who waits comes before who wants to write again, and nothing depends on it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskq_cloud.clients import sqlite_queue
from taskq_cloud.clients.sqlite import SQLiteClient
from taskq_cloud.clients.sqlite_queue import FILE_SUFFIX, WriteQueue
from taskq_cloud.core.flows import Call
from taskq_cloud.testing.waiting import until

fcntl = pytest.importorskip("fcntl")

LONG = 30.0
SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL)"


def insert(word: str) -> Call:
    statements = [("INSERT INTO words (word) VALUES (?)", (word,))]
    return Call("sqlite", "transaction", {"schema": SCHEMA, "statements": statements})


def words(client: SQLiteClient) -> list[str]:
    call = Call("sqlite", "query", {"schema": SCHEMA, "statements": [("SELECT word FROM words ORDER BY rowid", ())]})
    return [row["word"] for row in client.call(call)[0]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queues.db"


@pytest.fixture
def open_client(path: Path) -> Iterator[Callable[[], SQLiteClient]]:
    made: list[SQLiteClient] = []

    def open_one() -> SQLiteClient:
        made.append(SQLiteClient(path, LONG))
        made[-1].call(insert("opened"))
        return made[-1]

    yield open_one
    for each in made:
        each.close()


def in_thread(client: SQLiteClient, word: str) -> threading.Thread:
    thread = threading.Thread(target=client.call, args=(insert(word),))
    thread.start()
    return thread


def somebody_has_the_turn(path: Path) -> bool:
    file = os.open(f"{path}{FILE_SUFFIX}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(file)


def test_connection_that_writes_again_and_again_comes_after_the_one_that_waits(
    open_client: Callable[[], SQLiteClient], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_queue, "LONGEST_TURN_SECONDS", LONG)
    first, second, busy = open_client(), open_client(), open_client()
    busy._queue = WriteQueue(path, LONG)
    busy._queue._busy_until = float("inf")  # it has met another's lock
    asked = threading.Event()
    wait = WriteQueue._wait

    def noted(queue: WriteQueue, file: int, ends_at: float) -> None:
        if queue is not first._queue:
            asked.set()
        wait(queue, file, ends_at)

    monkeypatch.setattr(WriteQueue, "_wait", noted)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = in_thread(first, "waits")
        until(lambda: somebody_has_the_turn(path))
        pushing = in_thread(busy, "comes later")
        assert asked.wait(LONG)
        other.execute("ROLLBACK")
        for each in (waiting, pushing):
            each.join(LONG)
    assert words(second)[-2:] == ["waits", "comes later"]
    assert not somebody_has_the_turn(path)


def test_stopped_process_that_has_the_turn_stops_nobody(
    open_client: Callable[[], SQLiteClient], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_queue, "LONGEST_TURN_SECONDS", 0.0)
    client = open_client()
    client._queue = WriteQueue(path, LONG)
    client._queue._busy_until = float("inf")
    stopped = os.open(f"{path}{FILE_SUFFIX}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        client.call(insert("written"))
    finally:
        os.close(stopped)
    assert words(client)[-1] == "written"


def test_place_that_can_not_be_locked_leaves_it_to_sqlite(open_client: Callable[[], SQLiteClient], path: Path) -> None:
    Path(f"{path}{FILE_SUFFIX}").mkdir()
    client = open_client()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = in_thread(client, "written")
        until(lambda: client._queue is not None)
        other.execute("ROLLBACK")
        waiting.join(LONG)
    assert words(client)[-1] == "written"


def test_interrupted_wait_gives_the_turn_back(
    open_client: Callable[[], SQLiteClient], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client()

    def interrupt(_: float) -> None:
        assert somebody_has_the_turn(path)
        raise KeyboardInterrupt

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.call(insert("interrupted"))
        assert not somebody_has_the_turn(path)
        other.execute("ROLLBACK")
    client.call(insert("written"))
    assert words(client)[-1] == "written"


def test_connection_that_meets_no_lock_makes_no_file(open_client: Callable[[], SQLiteClient], path: Path) -> None:
    open_client().call(insert("alone"))
    assert not Path(f"{path}{FILE_SUFFIX}").exists()


def test_file_has_the_permissions_of_the_database(open_client: Callable[[], SQLiteClient], path: Path) -> None:
    client = open_client()
    path.chmod(0o660)
    queue = WriteQueue(path, LONG)
    connection = client._connection
    assert connection is not None
    queue.begin(connection, "BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    queue.close()
    assert Path(f"{path}{FILE_SUFFIX}").stat().st_mode & 0o777 == 0o660
