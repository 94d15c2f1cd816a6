"""Test announcements between processes: who hears them, what dead processes leave behind, forks, permissions.

Two objects for one file stand for two processes: each has a pipe and a thread of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients import file_announcements
from taskq_cloud.clients.file_announcements import FOLDER_SUFFIX, FileAnnouncements, announcements_of
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.testing.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")

LONG = 20
"""Seconds that no test waits, unless an announcement was lost."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "broker.db"
    path.touch(0o600)
    return path


@pytest.fixture
def here(path: Path) -> FileAnnouncements:
    return FileAnnouncements(path)


@pytest.fixture
def there(path: Path) -> FileAnnouncements:
    return FileAnnouncements(path)


def listener_of(announcements: FileAnnouncements, *topics: str) -> Listener:
    listener = Listener()
    assert announcements.listen(listener, {each: each for each in topics})
    return listener


def pipes(path: Path) -> list[str]:
    return sorted(each.name for each in Path(f"{path}{FOLDER_SUFFIX}").iterdir())


def in_child(function: Callable[[], object], *, ends_by: int = 0) -> None:
    """Run a function in a forked process, and wait until it has ended, as with ``os._exit`` or by a signal."""
    child = os.fork()
    if child == 0:
        try:
            function()
            if ends_by:
                os.kill(os.getpid(), ends_by)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -ends_by


def test_other_process_is_heard(here: FileAnnouncements, there: FileAnnouncements) -> None:
    listener = listener_of(here, "mail", "work")
    there.announce(["other", "work"])
    assert listener.wait(LONG)
    assert listener.take() == ["work"]


def test_own_process_is_heard_once_and_without_its_pipe(here: FileAnnouncements) -> None:
    listener = listener_of(here, "work")
    here.announce(["work"])
    assert listener.take() == ["work"]


def test_announcement_without_anybody_who_waits_leaves_no_file(here: FileAnnouncements, path: Path) -> None:
    here.announce(["work"])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("count", [999, 1001, 40_000])
def test_each_of_many_topics_is_heard(here: FileAnnouncements, there: FileAnnouncements, count: int) -> None:
    listener = listener_of(here, *[f"result {number}" for number in range(0, count, 97)])
    there.announce([f"result {number}" for number in range(count)])
    heard: set[str] = set()
    while len(heard) < len(range(0, count, 97)):
        assert listener.wait(LONG), f"{len(heard)} were heard"
        heard |= set(listener.take())


def test_reader_that_was_too_slow_hears_everything(
    here: FileAnnouncements, there: FileAnnouncements, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listener_of(here, "lost")
    here.hear(b"\1\0\0\0" * 1024)
    assert listener.take() == ["lost"]


# -- what is left behind


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("ends_by", [0, signal.SIGKILL])
def test_pipe_of_a_dead_process_is_removed_by_the_next_announcement(
    here: FileAnnouncements, path: Path, ends_by: int
) -> None:
    for _ in range(3):
        in_child(lambda: listener_of(here, "work"), ends_by=ends_by)
    assert len(pipes(path)) == 3
    listener = listener_of(here, "work")
    FileAnnouncements(path).announce(["work"])
    assert listener.wait(LONG)
    assert len(pipes(path)) == 1, "the pipe of the process that lives"


def test_half_made_pipe_of_a_dead_process_is_removed(here: FileAnnouncements, path: Path) -> None:
    folder = Path(f"{path}{FOLDER_SUFFIX}")
    folder.mkdir()
    for name, age_seconds in ((".old", 61), (".being-made", 0)):
        os.mkfifo(folder / name)
        now = (folder / name).stat().st_mtime
        os.utime(folder / name, (now - age_seconds, now - age_seconds))
    listener_of(here, "work")
    assert [name for name in pipes(path) if name.startswith(".")] == [".being-made"]


def test_pipe_is_removed_once_nobody_has_listened_for_a_while(
    here: FileAnnouncements, there: FileAnnouncements, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listener_of(here, "work")
    there.announce(["other"])
    listener.close()
    assert len(pipes(path)) == 1, "a process that waits again soon needs no new pipe"
    monkeypatch.setattr(file_announcements, "QUIET_SECONDS", 0)
    there.announce(["other"])
    until(lambda: pipes(path) == [])
    again = listener_of(here, "work")
    there.announce(["work"])
    assert again.wait(LONG)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_pipe_goes_with_the_last_client_of_the_file(path: Path) -> None:
    announcements = announcements_of(path)
    assert announcements_of(path) is announcements
    listener_of(announcements, "work")
    assert len(pipes(path)) == 1
    before = open_files()
    del announcements
    assert pipes(path) == []
    until(lambda: open_files() == before - 2)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_process_whose_pipe_was_removed_makes_another(
    here: FileAnnouncements, there: FileAnnouncements, path: Path
) -> None:
    listener_of(here, "work")
    before = open_files()
    shutil.rmtree(f"{path}{FOLDER_SUFFIX}")
    listener = listener_of(here, "work")
    there.announce(["work"])
    assert listener.wait(LONG)
    until(lambda: open_files() == before)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_pipe_that_root_makes_belongs_to_the_owner_of_the_database(here: FileAnnouncements, path: Path) -> None:
    os.chown(path, 1234, 2345)
    listener_of(here, "work")
    folder = Path(f"{path}{FOLDER_SUFFIX}")
    made = [folder, *folder.iterdir()]
    assert [(each.stat().st_uid, each.stat().st_gid) for each in made] == [(1234, 2345)] * 2


# -- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_process_hears_for_itself_and_leaves_the_parents_pipe(path: Path) -> None:
    announcements = announcements_of(path)
    listener = listener_of(announcements, "work")
    [of_parent] = pipes(path)

    def listen_in_child() -> None:
        own = listener_of(announcements, "work")
        assert len(pipes(path)) == 2
        FileAnnouncements(path).announce(["work"])
        assert own.wait(LONG)

    in_child(listen_in_child)
    assert listener.wait(LONG), "the child's announcement was for both"
    listener.take()
    FileAnnouncements(path).announce(["work"])
    assert listener.wait(LONG)
    assert pipes(path) == [of_parent]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_process_closes_no_file_in_place_of_a_pipe_that_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "broker.db"
    path.parent.mkdir()
    path.touch()
    announcements = announcements_of(path)
    before = open_files()
    listener_of(announcements, "work")
    pipe = announcements._pipe
    assert pipe is not None
    shutil.rmtree(path.parent)
    assert not announcements.listen(Listener(), {"work": "work"}), "there is no file any more"
    until(lambda: open_files() == before)
    assert announcements._pipe is None
    read_end, write_end = os.pipe()
    os.dup2(write_end, pipe._write_end)

    def use_pipe_in_child() -> None:
        pipe.close_in_child()
        os.write(pipe._write_end, b"x")

    in_child(use_pipe_in_child)
    assert os.read(read_end, 1) == b"x"
    for each in {read_end, write_end, pipe._write_end}:
        os.close(each)


def test_folder_that_cannot_be_looked_into_is_one_without_a_pipe(
    here: FileAnnouncements, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener_of(here, "work")
    stat_of = os.stat
    lstat_of = os.lstat

    def refused(place: Any, *args: Any, **how: Any) -> os.stat_result:
        if FOLDER_SUFFIX in str(place):
            raise PermissionError(13, "Permission denied")
        return stat_of(place, *args, **how)

    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(os, "lstat", refused)
    assert not here.listen(Listener(), {"work": "work"})
    monkeypatch.setattr(os, "stat", stat_of)
    monkeypatch.setattr(os, "lstat", lstat_of)
    listener = listener_of(here, "work")
    FileAnnouncements(path).announce(["work"])
    assert listener.wait(LONG)


# -- permissions


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize(
    ("database", "folder", "pipe"),
    [(0o600, 0o700, 0o600), (0o660, 0o770, 0o660), (0o640, 0o700, 0o600), (0o666, 0o777, 0o666)],
)
def test_folder_and_pipe_are_for_those_who_can_write_to_the_database(
    here: FileAnnouncements, path: Path, database: int, folder: int, pipe: int
) -> None:
    path.chmod(database)
    listener_of(here, "work")
    place = Path(f"{path}{FOLDER_SUFFIX}")
    assert place.stat().st_mode & 0o777 == folder
    assert [each.stat().st_mode & 0o777 for each in place.iterdir()] == [pipe]


def test_nothing_is_written_into_other_files(here: FileAnnouncements, path: Path, tmp_path: Path) -> None:
    folder = Path(f"{path}{FOLDER_SUFFIX}")
    folder.mkdir()
    (folder / "file").touch()
    target = tmp_path / "target"
    target.touch()
    (folder / "link").symlink_to(target)
    here.announce(["work"])
    assert (folder / "file").stat().st_size == target.stat().st_size == 0


def test_process_that_can_make_no_pipe_does_not_listen(
    here: FileAnnouncements, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "mkfifo", refuse)
        assert not here.listen(Listener(), {"work": "work"})
        patched.delattr(os, "mkfifo")
        assert not here.listen(Listener(), {"work": "work"})
    assert pipes(path) == []
    listener_of(here, "work")


def test_file_in_place_of_the_folder_is_left_alone(here: FileAnnouncements, path: Path) -> None:
    Path(f"{path}{FOLDER_SUFFIX}").write_text("mine")
    assert not here.listen(Listener(), {"work": "work"})
    here.announce(["work"])
    assert Path(f"{path}{FOLDER_SUFFIX}").read_text() == "mine"
