"""The scheduler that keeps its entries in a file, compared with Celery's."""

from __future__ import annotations

import logging
import pickle
import shelve
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import celery._state
import celery.beat as theirs
import pytest

import taskq_cloud.celery._state
from taskq_cloud.celery import beat as ours
from tests.celery.beat.apps import START, make_app

STATES = (celery._state, taskq_cloud.celery._state)
SCHEDULE = {"a": {"task": "known", "schedule": 5}, "b": {"task": "known", "schedule": 60, "args": (1,)}}


def opened(kind: Any, path: Path, **settings: Any) -> Any:
    app = make_app(SCHEDULE, **settings)
    for state in STATES:  # entries from a file ask the current application for the time
        state._set_current_app(app)
    return kind.PersistentScheduler(app, schedule_filename=str(path))


@pytest.fixture(params=["celery", "taskq_cloud"])
def kind(request: pytest.FixtureRequest) -> Any:
    """Both kinds of schedulers, of which the tests demand the same."""
    return theirs if request.param == "celery" else ours


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schedule"


def files(path: Path) -> list[Path]:
    return sorted(path.parent.iterdir())


def test_next_process_knows_the_last_runs(kind: Any, path: Path) -> None:
    first = opened(kind, path)
    first.app.pass_seconds(6)
    assert first.tick() == 0
    first.close()
    second = opened(kind, path)
    assert second.schedule["a"].total_run_count == 1
    assert second.schedule["a"].last_run_at == START + timedelta(seconds=6)
    assert second.schedule["b"].last_run_at == START
    assert second.info == f"    . db -> {path}"
    second.close()


def test_changed_setting_changes_the_stored_entries(kind: Any, path: Path) -> None:
    opened(kind, path).close()
    changed = kind.PersistentScheduler(
        make_app({"b": {"task": "other", "schedule": 9}, "c": {"task": "known", "schedule": 1}}),
        schedule_filename=str(path),
    )
    assert sorted(changed.schedule) == ["b", "c"]
    assert changed.schedule["b"].task == "other"
    changed.close()


def test_cleanup_is_added_after_the_settings_entries(kind: Any, path: Path) -> None:
    scheduler = opened(kind, path, supports_autoexpire=False)
    assert sorted(scheduler.schedule) == ["a", "b", "celery.backend_cleanup"]
    scheduler.close()


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"timezone": "Europe/Paris"}, {"timezone": "UTC"}, "Reset: Timezone changed from 'Europe/Paris' to 'UTC'"),
        ({"enable_utc": True}, {"enable_utc": False}, "Reset: UTC changed from enabled to disabled"),
    ],
)
def test_changed_time_zone_begins_the_schedule_anew(
    kind: Any, path: Path, caplog: pytest.LogCaptureFixture, before: Any, after: Any, text: str
) -> None:
    first = opened(kind, path, **before)
    first.reserve(first.schedule["a"])
    first.close()
    second = opened(kind, path, **after)
    assert second.schedule["a"].total_run_count == 0
    assert text in caplog.text
    second.close()


def test_zone_that_was_not_set_is_no_change(kind: Any, path: Path) -> None:
    first = opened(kind, path)
    first.reserve(first.schedule["a"])
    first.close()
    second = opened(kind, path, timezone="Europe/Paris")
    assert second.schedule["a"].total_run_count == 1
    second.close()


@pytest.mark.parametrize("content", [b"", b"no database", b"\x00" * 5000])
def test_corrupt_file_is_replaced(kind: Any, path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    for name in ("", ".db", ".dat"):
        path.with_name(path.name + name).write_bytes(content)
    scheduler = opened(kind, path)
    assert sorted(scheduler.schedule) == ["a", "b"]
    scheduler.close()
    again = opened(kind, path)
    assert sorted(again.schedule) == ["a", "b"]
    again.close()


@pytest.mark.parametrize("missing", ["__version__", "tz", "utc_enabled", "entries"])
def test_file_of_an_old_version_is_begun_anew(kind: Any, path: Path, missing: str) -> None:
    first = opened(kind, path)
    first.reserve(first.schedule["a"])
    first.close()
    with shelve.open(str(path)) as stored:
        del stored[missing]
    second = opened(kind, path)
    assert second.schedule["a"].total_run_count == 0
    second.close()
    with shelve.open(str(path)) as stored:
        assert missing in stored


class Unloadable:
    """A stored value that can't be loaded."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return fail, (self.error,)


def fail(error: type[Exception]) -> None:
    raise error("not today")


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, pickle.UnpicklingError])
def test_entries_that_cannot_be_loaded_are_made_again(
    kind: Any, path: Path, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    opened(kind, path).close()
    with shelve.open(str(path)) as stored:
        stored["entries"] = Unloadable(error)
    scheduler = opened(kind, path)
    assert sorted(scheduler.schedule) == ["a", "b"]
    assert ("Cannot load the stored entries" in caplog.text) is (error is ValueError)
    scheduler.close()


@pytest.mark.parametrize("error", [ImportError, ModuleNotFoundError, AttributeError])
def test_entries_of_classes_that_have_moved_are_made_again(path: Path, error: type[Exception]) -> None:
    """Celery's file has classes of Celery's, which need not be installed any more."""
    opened(ours, path).close()
    with shelve.open(str(path)) as stored:
        stored["entries"] = Unloadable(error)
    scheduler = opened(ours, path)
    assert sorted(scheduler.schedule) == ["a", "b"]
    scheduler.close()


def test_file_of_celery_keeps_its_last_runs(path: Path) -> None:
    celerys = opened(theirs, path)
    celerys.reserve(celerys.schedule["a"])
    celerys.close()
    own = opened(ours, path)
    assert own.schedule["a"].total_run_count == 1
    own.app.pass_seconds(6)
    assert own.tick() == 0
    own.close()


class Shelf(dict[str, Any]):
    """A shelf in memory."""

    closed = synced = False

    def close(self) -> None:
        self.closed = True

    def sync(self) -> None:
        self.synced = True


def test_other_databases_can_be_used(kind: Any) -> None:
    shelf = Shelf()

    class Scheduler(kind.PersistentScheduler):  # type: ignore[misc]
        persistence = SimpleNamespace(open=lambda name, writeback: shelf)

    scheduler = Scheduler(make_app(SCHEDULE), schedule_filename="anything")
    assert sorted(shelf) == ["__version__", "entries", "tz", "utc_enabled"]
    assert shelf.synced
    scheduler.schedule = {}
    assert shelf["entries"] == {}
    scheduler.close()
    assert shelf.closed


def test_removal_takes_the_files_of_all_databases(kind: Any, path: Path) -> None:
    scheduler = kind.PersistentScheduler(make_app(), schedule_filename=str(path), lazy=True)
    for suffix in scheduler.known_suffixes:
        path.with_name(path.name + suffix).write_bytes(b"x")
    scheduler._remove_db()
    assert files(path) == []
    scheduler._remove_db()


def test_lazy_scheduler_opens_no_file(kind: Any, path: Path) -> None:
    scheduler = kind.PersistentScheduler(make_app(SCHEDULE), schedule_filename=str(path), lazy=True)
    scheduler.sync()
    scheduler.close()
    assert files(path) == []


def test_file_is_closed_though_saving_fails(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Shelf):
        def close(self) -> None:
            raise ZeroDivisionError

    scheduler = kind.PersistentScheduler(make_app(), schedule_filename="anything", lazy=True)
    scheduler._store = Broken()
    with pytest.raises(ZeroDivisionError):
        scheduler.close()

    def unsaved() -> None:
        raise KeyError("disk")

    scheduler.sync = unsaved
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        scheduler.close()
    assert "Store cleanup failed after scheduler error" in caplog.text
