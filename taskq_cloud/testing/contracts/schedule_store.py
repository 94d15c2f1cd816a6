"""What every store of schedules does, as tests: derive a class from ``ScheduleStoreContract`` beside the adapter's own.

::

    class TestMemory(ScheduleStoreContract):
        @pytest.fixture
        def store(self):
            return MemorySchedules()

        @pytest.fixture
        def target(self):
            return "work"

Each test runs with the synchronous and the asynchronous driver. Schedules are far in the future, or the store is told
not to fire them: none does. What an adapter's schedules do when they fire is tested beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.errors import ImproperlyConfigured, PayloadTooLarge
from taskq_cloud.testing.driving import Drive, driving

THE_YEAR_2090 = datetime(2090, 2, 28, 23, 59, 1, tzinfo=UTC)

LARGEST_TRIED_BYTES = 8 * 1024 * 1024
"""A limit above this is not tried out: it would test the machine's memory."""

EXPRESSIONS = {
    "eventbridge": {"weekdays": "cron(0 9 ? * MON-FRI *)", "often": "rate(5 minutes)", "hourly": "rate(1 hour)"},
    "cloud_scheduler": {"weekdays": "0 9 * * 1-5", "often": "*/5 * * * *", "hourly": "0 * * * *"},
}
"""What stores are told, in their own words."""

BODY = '{"headers": {"task": "grüße, 你好, 🎉"}, "body": "\\"quoted\\" \\\\ <tags> & more"}'


class ScheduleStoreContract:
    """The tests. Override the fixtures ``store`` and ``target``."""

    @pytest.fixture
    def store(self) -> ScheduleStore:
        """The adapter; it may hold other schedules."""
        raise NotImplementedError

    @pytest.fixture
    def target(self) -> str:
        """The address of an unordered queue."""
        raise NotImplementedError

    @pytest.fixture
    def ordered_target(self, target: str) -> str:
        """The address of an ordered queue."""
        return f"{target}.fifo"

    @pytest.fixture
    def prefix(self) -> str:
        """What the names of this test's schedules begin with."""
        return f"t-{uuid4().hex[:12]}."

    @pytest.fixture
    def words(self, store: ScheduleStore) -> dict[str, str]:
        """Expressions as the store takes them."""
        return EXPRESSIONS[store.capabilities.expressions or "eventbridge"]

    @pytest.fixture
    def once(self, store: ScheduleStore, prefix: str, target: str, words: dict[str, str]) -> PlatformSchedule:
        """A schedule that fires once, or on weekdays where the store has no such times."""
        when = THE_YEAR_2090 if store.capabilities.one_off else words["weekdays"]
        return PlatformSchedule(name=f"{prefix}once", when=when, target=target, body=BODY)

    @pytest.fixture(params=["sync", "async"])
    def run(self, request: pytest.FixtureRequest, store: ScheduleStore) -> Iterator[Drive]:
        """Drives a flow to its end."""
        with driving(request.param, store.services) as drive:
            yield drive

    # Round trips

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"description": "task shop.remind of shop"},
            {"group": "customer-17"},
            {"attributes": {"tenant": "grün", "ExtendedPayloadSize": "17"}},
            {"when": "weekdays", "timezone": "Europe/Paris"},
            {"when": "often", "enabled": False},
            {"when": "often", "window_minutes": 15},
            {"when": "often", "start": THE_YEAR_2090, "end": THE_YEAR_2090.replace(year=2091)},
            {"name": "_-.__-name", "when": "hourly"},
        ],
        ids=lambda changes: "-".join(changes) or "plain",
    )
    def test_a_schedule_comes_back_as_it_was_put(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, words: dict[str, str], changes: dict[str, Any]
    ) -> None:
        schedule = _changed(once, words, changes)
        if not _takes(store, schedule):
            (refused,) = run(store.put([schedule]))
            assert isinstance(refused, Refused)
            assert isinstance(refused.error, ImproperlyConfigured)
            assert run(store.load([schedule.name])) == {}
            return

        assert run(store.put([schedule])) == [None]
        assert run(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}

    @pytest.mark.parametrize("deduplication", [None, "id:0"])
    def test_so_does_one_for_an_ordered_queue(
        self,
        store: ScheduleStore,
        run: Drive,
        once: PlatformSchedule,
        ordered_target: str,
        deduplication: str | None,
    ) -> None:
        schedule = replace(once, target=ordered_target, group="customer-17", deduplication=deduplication)
        if not store.capabilities.groups:
            (refused,) = run(store.put([schedule]))
            assert isinstance(refused, Refused)
            assert isinstance(refused.error, ImproperlyConfigured)
            return

        assert run(store.put([schedule])) == [None]
        assert run(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}

    def test_nothing_is_put_loaded_and_deleted(self, store: ScheduleStore, run: Drive) -> None:
        assert run(store.put([])) == run(store.put([], replace=True)) == []
        assert run(store.load([])) == {}
        assert run(store.delete([])) == []

    # The same name twice

    def test_a_name_that_is_there_is_left_as_it_is(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule
    ) -> None:
        run(store.put([once]))

        assert run(store.put([replace(once, body="another")])) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    def test_or_written_over_as_a_whole(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, words: dict[str, str]
    ) -> None:
        window = 5 if store.capabilities.windows else 0
        other = replace(once, when=words["hourly"], window_minutes=window, description="hourly", body="another")
        run(store.put([once]))

        assert run(store.put([other], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(other)}
        assert run(store.put([once], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    def test_one_is_disabled_and_enabled_by_being_written_over(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, words: dict[str, str]
    ) -> None:
        enabled = replace(once, when=words["hourly"])
        disabled = replace(enabled, enabled=False)
        for put in (disabled, disabled, enabled, enabled, replace(disabled, body="another"), disabled):
            assert run(store.put([put], replace=True)) == [None]
            assert run(store.load([once.name])) == {once.name: store.kept(put)}

    def test_what_is_to_be_replaced_and_is_not_there_is_made(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule
    ) -> None:
        assert run(store.put([once], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    def test_several_put_one_at_the_same_time(self, store: ScheduleStore, run: Drive, once: PlatformSchedule) -> None:
        answers = run.together([store.put([once]) for _ in range(5)])

        assert answers == [[None]] * 5
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    # Removing

    def test_what_is_deleted_is_gone(self, store: ScheduleStore, run: Drive, once: PlatformSchedule) -> None:
        run(store.put([once]))

        assert run(store.delete([once.name, f"{once.name}-not"])) == [True, False]
        assert run(store.load([once.name])) == {}
        assert run(store.delete([once.name])) == [False]

    def test_what_was_deleted_can_be_put_again(self, store: ScheduleStore, run: Drive, once: PlatformSchedule) -> None:
        run(store.put([once]))
        run(store.delete([once.name]))

        assert run(store.put([once])) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    # Listing

    def test_names_are_listed_by_prefix(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, prefix: str
    ) -> None:
        assert not run(store.names(prefix)).names
        names = [f"{prefix}{number:02}" for number in range(25)]
        run(store.put([replace(once, name=name) for name in [*names, f"x{prefix}00"]]))

        found: list[str] = []
        cursor = None
        while True:
            page = run(store.names(prefix, limit=10, cursor=cursor))
            found += page.names
            cursor = page.cursor
            if cursor is None:
                break

        assert sorted(found) == names
        assert set(run(store.load([*names, f"{prefix}99"]))) == set(names)

    # A part of a batch

    def test_what_is_too_large_is_refused_and_the_others_are_kept(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, prefix: str
    ) -> None:
        limit = store.capabilities.largest_body_bytes
        if limit > LARGEST_TRIED_BYTES:
            pytest.skip("no limit that is worth trying")
        large = replace(once, name=f"{prefix}large", body="ü" * (limit // 2 + 1))
        fits = replace(once, name=f"{prefix}fits", body="x" * limit)

        first, refused, last = run(store.put([once, large, fits]))

        assert first is None
        assert last is None
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, PayloadTooLarge)
        assert large.name in str(refused.error)
        assert set(run(store.load([once.name, large.name, fits.name]))) == {once.name, fits.name}


def _changed(once: PlatformSchedule, words: dict[str, str], changes: dict[str, Any]) -> PlatformSchedule:
    """A schedule with changes, its expression in the store's words and its name made unique."""
    changed = replace(once, **changes)
    if "when" in changes:
        changed = replace(changed, when=words[changes["when"]])
    return replace(changed, name=f"{once.name}{changes['name']}") if "name" in changes else changed


def _takes(store: ScheduleStore, schedule: PlatformSchedule) -> bool:
    """Whether a store says that it takes a schedule's group, window, start and end."""
    can = store.capabilities
    return (
        (can.groups or schedule.group is None)
        and (can.windows or not schedule.window_minutes)
        and (can.bounds or (schedule.start is None and schedule.end is None))
    )
