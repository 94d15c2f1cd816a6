"""The part of ``ResultStoreContract`` about joins and locks."""

from __future__ import annotations

from itertools import permutations
from uuid import uuid4

import pytest

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive


class JoinsAndLocksContract:
    """Tests of joins and locks, with the fixtures of ``ResultStoreContract``."""

    @pytest.fixture
    def key(self) -> str:
        """The id of a join or the key of a lock that no other test uses."""
        return str(uuid4())

    @pytest.fixture
    def join_store(self, store: ResultStore) -> ResultStore:
        """The store, if it counts the members of joins."""
        if not store.capabilities.joins:
            pytest.skip("the store doesn't support joins")
        return store

    @pytest.fixture
    def lock_store(self, store: ResultStore) -> ResultStore:
        """The store, if it gives out locks."""
        if not store.capabilities.claims:
            pytest.skip("the store doesn't support locks")
        return store

    # Joins

    @pytest.mark.parametrize("order", list(permutations("012")), ids="".join)
    def test_join_is_complete_with_its_last_member(
        self, join_store: ResultStore, run: Drive, key: str, order: tuple[str, ...]
    ) -> None:
        assert [run(join_store.join(key, member, 3, None)) for member in order] == [False, False, True]

    def test_member_counts_once_however_often_it_arrives(self, join_store: ResultStore, run: Drive, key: str) -> None:
        arrivals = ["0", "0", "1", "0", "1", "2"]
        assert [run(join_store.join(key, member, 3, None)) for member in arrivals] == [False] * 5 + [True]

    def test_member_that_arrives_again_learns_that_the_join_is_complete(
        self, join_store: ResultStore, run: Drive, key: str
    ) -> None:
        run(join_store.join(key, "0", 2, None))
        run(join_store.join(key, "1", 2, None))

        # The worker that completed the join may have died before it acted on that: the next one has to learn it, too.
        assert run(join_store.join(key, "0", 2, None))
        assert run(join_store.join(key, "1", 2, None))

    def test_one_of_concurrent_members_completes_the_join(self, join_store: ResultStore, run: Drive, key: str) -> None:
        complete = run.together([join_store.join(key, str(number), 12, None) for number in range(12)])
        assert sorted(complete) == [False] * 11 + [True]

    def test_joins_are_counted_separately(self, join_store: ResultStore, run: Drive, key: str) -> None:
        assert not run(join_store.join(key, "0", 2, None))
        assert not run(join_store.join(f"{key}-other", "1", 2, None))
        assert run(join_store.join(f"{key}-alone", "0", 1, None))

    def test_expired_join_begins_anew(self, join_store: ResultStore, run: Drive, clock: FakeClock, key: str) -> None:
        run(join_store.join(key, "0", 2, clock() + 10))
        clock.advance(10)

        assert not run(join_store.join(key, "1", 2, clock() + 10))
        assert run(join_store.join(key, "0", 2, clock() + 10))

    def test_last_arrival_sets_the_expiry_of_the_join(
        self, join_store: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        run(join_store.join(key, "0", 3, clock() + 10))
        run(join_store.join(key, "1", 3, clock() + 20))
        clock.advance(15)
        assert run(join_store.join(key, "2", 3, None))
        clock.advance(86_400)
        assert run(join_store.join(key, "2", 3, None))

    # Locks

    def test_lock_is_held_by_one_owner(self, lock_store: ResultStore, run: Drive, key: str) -> None:
        assert run(lock_store.claim(key, "me", 30)) == 1
        assert run(lock_store.claim(key, "you", 30)) is None
        assert run(lock_store.claim(f"{key}-other", "you", 30)) == 1

    def test_holder_renews_its_lock_under_the_same_number(
        self, lock_store: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        fence = run(lock_store.claim(key, "me", 30))
        clock.advance(20)
        assert run(lock_store.claim(key, "me", 30)) == fence
        clock.advance(20)
        assert run(lock_store.claim(key, "you", 30)) is None
        clock.advance(10)
        assert run(lock_store.claim(key, "you", 30)) == 2

    def test_lapsed_lock_is_free_under_a_higher_number(
        self, lock_store: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        fences = []
        for owner in ("me", "you", "you", "me"):
            fences.append(run(lock_store.claim(key, owner, 5)))
            clock.advance(5)
        assert fences == [1, 2, 3, 4]

    def test_released_lock_is_free_at_once_and_its_number_is_remembered(
        self, lock_store: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        run(lock_store.claim(key, "me", 30))

        assert run(lock_store.claim(key, "me", 0)) == 1
        assert run(lock_store.claim(key, "you", 30)) == 2
        assert run(lock_store.claim(key, "you", 0)) == 2
        clock.advance(FENCE_KEPT_SECONDS - 60)
        run(lock_store.claim(f"{key}-other", "me", 30))
        assert run(lock_store.claim(key, "me", 30)) == 3

    def test_lock_is_released_by_its_holder_only(
        self, lock_store: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        assert run(lock_store.claim(key, "you", 0)) is None
        run(lock_store.claim(key, "me", 30))
        assert run(lock_store.claim(key, "you", 0)) is None
        assert run(lock_store.claim(key, "you", 30)) is None
        clock.advance(30)
        assert run(lock_store.claim(key, "me", 0)) is None

    def test_one_of_concurrent_owners_gets_the_lock(self, lock_store: ResultStore, run: Drive, key: str) -> None:
        fences = run.together([lock_store.claim(key, f"owner-{number}", 30) for number in range(8)])
        assert sorted(fences, key=str) == [1] + [None] * 7

    def test_lapsed_lock_goes_to_one_of_concurrent_owners(
        self, lock_store: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        run(lock_store.claim(key, "first", 5))
        clock.advance(5)
        fences = run.together([lock_store.claim(key, f"owner-{number}", 30) for number in range(8)])
        assert sorted(fences, key=str) == [2] + [None] * 7
