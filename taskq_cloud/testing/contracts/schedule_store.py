"""The contract of stores of schedules. Derive a class from ``ScheduleStoreContract`` in the tests of the adapter::

    class TestMemory(ScheduleStoreContract):
        @pytest.fixture
        def store(self):
            return MemorySchedules()

        @pytest.fixture
        def target(self):
            return "work"

Each test runs with the synchronous and with the asynchronous driver. No schedule fires: each is far in the future, or
the store under test is told to fire none. The adapter's own tests test what happens when a schedule fires.
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
"""The largest limit that a test tries out; a larger one would test the machine's memory."""

EXPRESSIONS = {
    "eventbridge": {"weekdays": "cron(0 9 ? * MON-FRI *)", "often": "rate(5 minutes)", "hourly": "rate(1 hour)"},
    "cloud_scheduler": {"weekdays": "0 9 * * 1-5", "often": "*/5 * * * *", "hourly": "0 * * * *"},
}
"""Module of ``core.schedules`` -> expressions of the platform."""

BODY = '{"headers": {"task": "grüße, 你好, 🎉"}, "body": "\\"quoted\\" \\\\ <tags> & more"}'


class ScheduleStoreContract:
    """The tests of a store of schedules. Define the fixtures ``store`` and ``target``."""

    @pytest.fixture
    def store(self) -> ScheduleStore:
        """The adapter under test. It may hold other schedules."""
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
        """The beginning of the names of this test's schedules."""
        return f"t-{uuid4().hex[:12]}."

    @pytest.fixture
    def words(self, store: ScheduleStore) -> dict[str, str]:
        """Expressions in the form that the store takes."""
        return EXPRESSIONS[store.capabilities.expressions or "eventbridge"]

    @pytest.fixture
    def once(self, store: ScheduleStore, prefix: str, target: str, words: dict[str, str]) -> PlatformSchedule:
        """A schedule that fires once, or on weekdays if the store has no one-off times."""
        when = THE_YEAR_2090 if store.capabilities.one_off else words["weekdays"]
        return PlatformSchedule(name=f"{prefix}once", when=when, target=target, body=BODY)

    @pytest.fixture(params=["sync", "async"])
    def run(self, request: pytest.FixtureRequest, store: ScheduleStore) -> Iterator[Drive]:
        """Drives flows to their ends."""
        with driving(request.param, store.services) as drive:
            yield drive

    # Putting and loading

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
    def test_schedule_is_loaded_as_it_was_put(
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
    def test_schedule_for_an_ordered_queue_is_loaded_as_it_was_put(
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

    def test_empty_batches_do_nothing(self, store: ScheduleStore, run: Drive) -> None:
        assert run(store.put([])) == run(store.put([], replace=True)) == []
        assert run(store.load([])) == {}
        assert run(store.delete([])) == []

    # Putting a name again

    def test_existing_schedule_is_kept_without_replace(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule
    ) -> None:
        run(store.put([once]))

        assert run(store.put([replace(once, body="another")])) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    def test_existing_schedule_is_replaced_as_a_whole(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, words: dict[str, str]
    ) -> None:
        window = 5 if store.capabilities.windows else 0
        other = replace(once, when=words["hourly"], window_minutes=window, description="hourly", body="another")
        run(store.put([once]))

        assert run(store.put([other], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(other)}
        assert run(store.put([once], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    def test_schedule_is_disabled_and_enabled_by_replacing_it(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, words: dict[str, str]
    ) -> None:
        enabled = replace(once, when=words["hourly"])
        disabled = replace(enabled, enabled=False)
        for put in (disabled, disabled, enabled, enabled, replace(disabled, body="another"), disabled):
            assert run(store.put([put], replace=True)) == [None]
            assert run(store.load([once.name])) == {once.name: store.kept(put)}

    def test_missing_schedule_is_created_by_replacing_it(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule
    ) -> None:
        assert run(store.put([once], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    def test_concurrent_puts_of_one_schedule_succeed(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule
    ) -> None:
        answers = run.together([store.put([once]) for _ in range(5)])

        assert answers == [[None]] * 5
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    # Deleting

    def test_deleted_schedule_is_gone(self, store: ScheduleStore, run: Drive, once: PlatformSchedule) -> None:
        run(store.put([once]))

        assert run(store.delete([once.name, f"{once.name}-not"])) == [True, False]
        assert run(store.load([once.name])) == {}
        assert run(store.delete([once.name])) == [False]

    def test_deleted_schedule_can_be_put_again(self, store: ScheduleStore, run: Drive, once: PlatformSchedule) -> None:
        run(store.put([once]))
        run(store.delete([once.name]))

        assert run(store.put([once])) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

    # Listing

    def test_names_are_listed_by_prefix_in_pages(
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

    # Refusing a part of a batch

    def test_schedule_over_the_limit_is_refused_alone(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, prefix: str
    ) -> None:
        limit = store.capabilities.largest_body_bytes
        if limit > LARGEST_TRIED_BYTES:
            pytest.skip(f"the store's limit of {limit} bytes is too large to try out")
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
    """Change a schedule; a changed expression becomes the store's, and a changed name stays unique."""
    changed = replace(once, **changes)
    if "when" in changes:
        changed = replace(changed, when=words[changes["when"]])
    return replace(changed, name=f"{once.name}{changes['name']}") if "name" in changes else changed


def _takes(store: ScheduleStore, schedule: PlatformSchedule) -> bool:
    """Whether the store declares that it can keep the group, the window, the start and the end of a schedule."""
    can = store.capabilities
    return (
        (can.groups or schedule.group is None)
        and (can.windows or not schedule.window_minutes)
        and (can.bounds or (schedule.start is None and schedule.end is None))
    )
