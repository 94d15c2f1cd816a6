"""What every store of schedules does, as tests: derive a class from ``ScheduleStoreContract`` beside the adapter's own.

::

    class TestMemory(ScheduleStoreContract):
        @pytest.fixture
        def store(self):
            return MemorySchedules()

        @pytest.fixture
        def target(self):
            return "work"

Each test runs with the synchronous and the asynchronous driver. Schedules are far in the future: none fires. What an
adapter's schedules do when they fire is tested beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud.core.message import Refused
from taskq_cloud.core.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.errors import PayloadTooLarge
from taskq_cloud.testing.driving import Drive, driving

THE_YEAR_2090 = datetime(2090, 2, 28, 23, 59, 1, tzinfo=UTC)

LARGEST_TRIED_BYTES = 8 * 1024 * 1024
"""A limit above this is not tried out: it would test the machine's memory."""

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
    def once(self, prefix: str, target: str) -> PlatformSchedule:
        """A schedule that fires once."""
        return PlatformSchedule(name=f"{prefix}once", when=THE_YEAR_2090, target=target, body=BODY)

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
            {"when": "cron(0 9 ? * MON-FRI *)", "timezone": "Europe/Paris"},
            {"when": "rate(5 minutes)", "enabled": False, "window_minutes": 15},
            {"when": "rate(5 minutes)", "start": THE_YEAR_2090, "end": THE_YEAR_2090.replace(year=2091)},
        ],
        ids=lambda changes: "-".join(changes) or "plain",
    )
    def test_a_schedule_comes_back_as_it_was_put(
        self, store: ScheduleStore, run: Drive, once: PlatformSchedule, changes: dict[str, Any]
    ) -> None:
        schedule = replace(once, **changes)

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

    def test_or_written_over_as_a_whole(self, store: ScheduleStore, run: Drive, once: PlatformSchedule) -> None:
        other = replace(once, when="rate(1 hour)", window_minutes=5, description="hourly", body="another")
        run(store.put([once]))

        assert run(store.put([other], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(other)}
        assert run(store.put([once], replace=True)) == [None]
        assert run(store.load([once.name])) == {once.name: store.kept(once)}

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

        page = run(store.names(prefix))

        assert sorted(page.names) == names
        assert page.cursor is None
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
