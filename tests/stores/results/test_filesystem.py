"""A folder of files as a result store: the contract, what is in the folder, killed writers, and failures."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients import filesystem, filesystem_locks
from taskq_cloud.clients.base import LONGEST_CALL
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.flows import run as drive
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.records.record import FAILURE, STARTED
from taskq_cloud.errors import (
    DecodeError,
    ImproperlyConfigured,
    OperationalError,
)
from taskq_cloud.stores.results.filesystem import FileResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record, document
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.stores.recorder import Recorder

pytestmark = pytest.mark.slow

SECONDS = 10
NO_SWEEP = {"beginnings": (), "pattern": b"", "now": 0.0}


class TestFiles(ResultStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: FakeClock) -> FileResults:
        return FileResults(tmp_path / "results", clock=clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def store(folder: Path, clock: FakeClock) -> FileResults:
    return FileResults(folder, clock=clock)


@pytest.fixture
def run(store: FileResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} - {".taskq"}


# What is in the folder


def test_folder_and_files_are_their_users_alone(store: FileResults, run: Drive, folder: Path) -> None:
    record = a_record(STARTED, 1, value="größe", fence=2, expires_at=4e9)
    run(store.save([record]))
    run(store.join("a-join", "0", 2, None))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert names(folder) == {f"celery-task-meta-{record.id}", "taskq-join-a-join"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir() if each.is_file()} == {0o600}
    fields = '"taskq":{"state":"STARTED","version":"2","fence":"2","expires":"4000000000.0"}'
    kept = (folder / f"celery-task-meta-{record.id}").read_text()
    assert kept == f"{document('größe', STARTED, record.id)[:-1]},{fields}}}"


def test_group_that_can_write_to_the_folder_can_read_its_files(store: FileResults, run: Drive, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o2770)
    run(store.save([a_record(id="A")]))
    run(store.join("a-join", "0", 2, None))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir() if each.is_file()}
    assert modes == {0o660}


@pytest.mark.parametrize("task_id", ["../../etc/passwd", "a/b", "a\0b", "x" * 300, "\udc80"])
def test_id_that_is_no_name_of_a_file_stays_in_the_folder(
    store: FileResults, run: Drive, folder: Path, tmp_path: Path, task_id: str
) -> None:
    record = a_record(id=task_id)
    if task_id != "\udc80":  # it is in no JSON
        assert run(store.save([record])) == [True]
        assert run(store.load([task_id])) == {task_id: record}
        assert [name.startswith("celery-task-meta-sha256-") for name in names(folder)] == [True]
        assert {each.name for each in tmp_path.iterdir()} == {"results"}
    assert run(store.load([f"{task_id}2"])) == {}


def test_expired_files_go_with_later_writes(store: FileResults, run: Drive, folder: Path, clock: FakeClock) -> None:
    later = clock() + 100
    for number in range(10):
        run(store.save([a_record(value="x" * 2000, expires_at=later, id=f"old-{number}")]))
        run(store.join(f"join-{number}", "0", 2, later))
        run(store.claim(f"lock-{number}", "me", 10))
        run(store.reserve(f"rate-{number}", 10, 0))
    kept = [a_record(id="kept"), a_record(id="long", expires_at=clock() + 1e9)]
    run(store.save(kept))
    (folder / "celery-task-meta-theirs").write_text(document(7))
    (folder / "notes.txt").write_text('{"a":1,"taskq":{"until":"1.0"}}')
    clock.advance(1000)
    for number in range(25):
        run(store.save([a_record(id=f"new-{number % 5}", expires_at=clock() + 10)]))
        clock.advance(60)
    left = names(folder)
    assert {"celery-task-meta-kept", "celery-task-meta-long", "celery-task-meta-theirs", "notes.txt"} <= left
    assert not {name for name in left if "old-" in name or "join-" in name or "rate-" in name}
    # A lock is remembered, so that the next one gets a higher number.
    assert len({name for name in left if "lock-" in name}) == 10
    assert run(store.load(["kept", "long"])) == {each.id: each for each in kept}


def test_listener_hears_the_end_of_its_task(store: FileResults, run: Drive) -> None:
    mine, other = a_record(), a_record()
    listener = Listener()
    assert run(store.listen([mine.id], listener))
    run(store.save([other, mine]))
    until(lambda: listener.has_heard, "the listener to hear of it", SECONDS)
    assert listener.take() == [mine.id]
    listener.close()


@pytest.mark.parametrize("content", [b"", b'{"status": "SUCC'])
def test_file_that_celery_is_writing_is_left_to_celery(
    store: FileResults, run: Drive, folder: Path, content: bytes
) -> None:
    folder.mkdir()
    place = folder / "celery-task-meta-A"
    place.write_bytes(content)
    client = filesystem.open_client("file", {"path": folder})
    write = Call("file", "write", {"writes": [("celery-task-meta-A", b"{}", None)], "sweep": NO_SWEEP})

    assert run(store.load(["A"])) == {}
    assert client.call(write) == [False]
    os.utime(place, (0, 0))
    # Celery was killed: what it has left is nothing, or is damaged.
    if content:
        with pytest.raises(DecodeError):
            run(store.load(["A"]))
    assert client.call(write) == [not content]


def test_result_waits_until_celery_has_written_its_own(store: FileResults, run: Drive, folder: Path) -> None:
    folder.mkdir()
    place = folder / "celery-task-meta-A"
    place.touch()
    asked: list[Call] = []

    def answer(call: Call) -> Any:
        asked.append(call)
        if len(asked) == 3:
            place.write_text(document(7))
        return run(made(call))

    assert drive(store.save([a_record(FAILURE, id="A")]), Recorder(answer)) == [False]
    assert json.loads(place.read_text())["result"] == 7


def made(call: Call) -> Flow[Any]:
    return (yield call)


# Other processes


WRITER = """
import os, sys
from taskq_cloud.clients import filesystem
from taskq_cloud.core.records.record import FINAL_VERSION, Record
from taskq_cloud.stores.results.filesystem import FileResults
from taskq_cloud.testing.driving import driving

def stop(*_):
    print("stopped", flush=True)
    sys.stdin.read()

folder, place = sys.argv[1:]
store = FileResults(folder)
with driving("sync", store.services) as run:
    if place == "locked":
        filesystem.version_of = stop  # under the lock, before the new value has its name
        run(store.save([Record("A", "STARTED", 0, '{"status":"STARTED"}')]))
    elif place == "unfinished":
        os.fsync = stop
    run(store.save([Record("A", "SUCCESS", FINAL_VERSION, '{"status":"SUCCESS"}')]))
"""


@pytest.mark.parametrize("place", ["locked", "unfinished"])
def test_killed_writer_leaves_the_old_value_and_no_lock(
    store: FileResults, run: Drive, folder: Path, place: str
) -> None:
    before = a_record(STARTED, id="A")
    run(store.save([before]))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), place], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"stopped\n"
        assert run(store.load(["A"])) == {"A": before}
        if place == "locked":
            impatient = filesystem.open_client("file", {"path": folder, LONGEST_CALL: 0.01})
            with pytest.raises(CallError, match="another process kept the lock of a file") as caught:
                impatient.call(Call("file", "append", {"name": "celery-task-meta-A", "value": b""}))
            assert caught.value.trouble is Trouble.TRANSIENT
        writer.send_signal(signal.SIGKILL)
    assert run(store.load(["A"])) == {"A": before}
    after = a_record(id="A", value="ours")
    assert run(store.save([after])) == [True]

    [left] = [each for each in folder.iterdir() if "unfinished" in each.name]
    os.utime(left, (0, 0))
    for _ in range(3):
        run(store.save([a_record(id="B", value="more")]))
    assert not left.exists()
    assert run(store.load(["A"])) == {"A": after}


def test_processes_that_write_one_key_at_once_agree(folder: Path) -> None:
    program = """
import sys
from taskq_cloud.stores.results.filesystem import FileResults
from taskq_cloud.testing.driving import driving
store = FileResults(sys.argv[1])
with driving("sync", store.services) as run:
    complete = [run(store.join("a-join", str(n), 20, None)) for n in range(int(sys.argv[2]), 20, 2)]
    print(sum(complete), *(run(store.reserve("a-rate", 10, 0)) for _ in range(5)))
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(folder), str(number)], stdout=subprocess.PIPE)
        for number in range(2)
    ]
    answers = [writer.communicate()[0].split() for writer in writers]
    assert sum(int(complete) for complete, *_ in answers) == 1
    slots = sorted(float(slot) for _, *slots in answers for slot in slots)
    assert len(slots) == 10
    assert all(later - earlier > 9.99 for earlier, later in pairwise(slots))


# Failures


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b'{"result": 1}', b'{"status": "STARTED"'])
def test_malformed_document_is_an_error(store: FileResults, run: Drive, folder: Path, content: bytes) -> None:
    folder.mkdir()
    place = folder / "celery-task-meta-A"
    place.write_bytes(content)
    os.utime(place, (0, 0))
    with pytest.raises(DecodeError):
        run(store.load(["A"]))
    with pytest.raises(DecodeError):
        run(store.save([a_record(id="A")]))
    assert place.read_bytes() == content


def test_part_of_a_line_spoils_no_join(store: FileResults, run: Drive, folder: Path) -> None:
    run(store.join("a-join", "0", 3, None))
    place = folder / "taskq-join-a-join"
    place.write_bytes(place.read_bytes() + b'\n{"member": 1, "arri')
    assert not run(store.join("a-join", "2", 3, None))
    assert run(store.join("a-join", "1", 3, None))


def test_link_in_place_of_a_file_is_not_followed(store: FileResults, run: Drive, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder.mkdir()
    (folder / "celery-task-meta-A").symlink_to(tmp_path / "secret")
    for flow in (store.load(["A"]), store.save([a_record(id="A")])):
        with pytest.raises(OperationalError, match="symbolic link, which is not followed"):
            run(flow)
    assert (tmp_path / "secret").read_text() == "secret"


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = FileResults(tmp_path / "file" / "results")
    with driving("sync", store.services) as run, pytest.raises(OperationalError, match=r"Not a directory.*can be"):
        run(store.save([a_record()]))


def test_disk_that_takes_no_more_leaves_the_old_value(store: FileResults, run: Drive, folder: Path) -> None:
    before = a_record(STARTED, id="A")
    run(store.save([before]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OperationalError, match="File too large"):
            run(store.save([a_record(id="A", value="x" * 100_000)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(folder) == {"celery-task-meta-A"}
    assert run(store.load(["A"])) == {"A": before}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_full_disk_is_waited_for(
    store: FileResults, run: Drive, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    flush, failures = os.fsync, iter([OSError(number, os.strerror(number))])

    def fail_once(descriptor: int) -> None:
        for failure in failures:
            raise failure
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    record = a_record()
    assert run(store.save([record])) == [True]
    assert run(store.load([record.id])) == {record.id: record}


def test_time_limit_that_strikes_within_a_write_comes_out(
    store: FileResults, run: Drive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(descriptor: int) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", strike)
        with pytest.raises(KeyboardInterrupt):
            run(store.save([a_record(id="A")]))
    assert names(folder) == set()
    assert run(store.save([a_record(FAILURE, id="A")])) == [True]


def test_child_that_was_forked_within_a_write_keeps_no_lock(store: FileResults, run: Drive, folder: Path) -> None:
    run(store.save([a_record(STARTED, id="A")]))
    locks = filesystem_locks.Locks(folder / ".taskq", 5)
    with locks.held("celery-task-meta-A"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        assert run(store.save([a_record(id="A")])) == [True]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# URLs


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("file:///var/results", "/var/results"),
        ("file://localhost/var/results", "/var/results"),
        ("file://results/of/shop", str(Path.cwd() / "results" / "of" / "shop")),
        ("file:///with%20escape", "/with%20escape"),
    ],
)
def test_url_names_the_folder_as_celerys_does(url: str, place: str) -> None:
    store = store_from_url(url, {})
    [service] = store.services.values()
    assert dict(service.options) == {"path": place}


@pytest.mark.parametrize("url", ["file://", "file:///", "file:///a?b=c"])
def test_url_without_a_folder_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        store_from_url(url, {})
    with pytest.raises(ImproperlyConfigured, match="can't have a /"):
        store_from_url("file:///a", {"global_keyprefix": "shop/"})


def test_values_are_read_by_other_programs(store: FileResults, run: Drive, folder: Path) -> None:
    threads = [threading.Thread(target=run, args=(store.save([a_record(id=str(n))]),)) for n in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {json.loads((folder / name).read_text())["status"] for name in names(folder)} == {"SUCCESS"}
