"""The part of ``ResultStoreContract`` about joins and claims. Not derived from by itself."""

from __future__ import annotations

from itertools import permutations
from uuid import uuid4

import pytest

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive


class JoinsAndClaimsContract:
    """The tests."""

    @pytest.fixture
    def key(self) -> str:
        """A join's id, or a claim's key, that no other test knows."""
        return str(uuid4())

    @pytest.fixture
    def joining(self, store: ResultStore) -> ResultStore:
        """The store, where it joins."""
        if not store.capabilities.joins:
            pytest.skip("the store has no joins")
        return store

    @pytest.fixture
    def claiming(self, store: ResultStore) -> ResultStore:
        """The store, where it claims."""
        if not store.capabilities.claims:
            pytest.skip("the store has no claims")
        return store

    # Joins

    @pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
    def test_a_join_is_complete_with_its_last_member(
        self, joining: ResultStore, run: Drive, key: str, order: tuple[str, ...]
    ) -> None:
        assert [run(joining.join(key, member, 3, None)) for member in order] == [False, False, True]

    def test_a_member_counts_once_however_often_it_comes(self, joining: ResultStore, run: Drive, key: str) -> None:
        arrivals = ["a", "a", "b", "a", "b", "ç"]
        assert [run(joining.join(key, member, 3, None)) for member in arrivals] == [False] * 5 + [True]

    def test_who_comes_again_learns_that_the_join_is_complete(self, joining: ResultStore, run: Drive, key: str) -> None:
        run(joining.join(key, "a", 2, None))
        run(joining.join(key, "b", 2, None))

        # Whoever completed it may have died before it said so: the next to come has to learn it as well.
        assert run(joining.join(key, "a", 2, None))
        assert run(joining.join(key, "b", 2, None))

    def test_one_of_members_that_come_at_once_completes_the_join(
        self, joining: ResultStore, run: Drive, key: str
    ) -> None:
        complete = run.together([joining.join(key, f"member-{number}", 12, None) for number in range(12)])
        assert sorted(complete) == [False] * 11 + [True]

    def test_joins_count_apart(self, joining: ResultStore, run: Drive, key: str) -> None:
        assert not run(joining.join(key, "a", 2, None))
        assert not run(joining.join(f"{key}-other", "b", 2, None))
        assert run(joining.join(f"{key}-alone", "a", 1, None))

    def test_an_expired_join_begins_anew(self, joining: ResultStore, run: Drive, clock: FakeClock, key: str) -> None:
        run(joining.join(key, "a", 2, clock() + 10))
        clock.advance(10)

        assert not run(joining.join(key, "b", 2, clock() + 10))
        assert run(joining.join(key, "a", 2, clock() + 10))

    def test_the_last_arrival_says_when_a_join_expires(
        self, joining: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        run(joining.join(key, "a", 3, clock() + 10))
        run(joining.join(key, "b", 3, clock() + 20))
        clock.advance(15)
        assert run(joining.join(key, "c", 3, None))
        clock.advance(86_400)
        assert run(joining.join(key, "c", 3, None))

    # Claims

    def test_a_claim_is_the_owners_alone(self, claiming: ResultStore, run: Drive, key: str) -> None:
        assert run(claiming.claim(key, "me", 30)) == 1
        assert run(claiming.claim(key, "you", 30)) is None
        assert run(claiming.claim(f"{key}-other", "you", 30)) == 1

    def test_the_holder_renews_its_claim_under_the_same_number(
        self, claiming: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        fence = run(claiming.claim(key, "me", 30))
        clock.advance(20)
        assert run(claiming.claim(key, "me", 30)) == fence
        clock.advance(20)
        assert run(claiming.claim(key, "you", 30)) is None
        clock.advance(10)
        assert run(claiming.claim(key, "you", 30)) == 2

    def test_a_lapsed_claim_is_anyones_under_a_higher_number(
        self, claiming: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        fences = []
        for owner in ("me", "you", "you", "me"):
            fences.append(run(claiming.claim(key, owner, 5)))
            clock.advance(5)
        assert fences == [1, 2, 3, 4]

    def test_a_claim_given_up_is_free_at_once_and_its_number_is_remembered(
        self, claiming: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        run(claiming.claim(key, "me", 30))

        assert run(claiming.claim(key, "me", 0)) == 1
        assert run(claiming.claim(key, "you", 30)) == 2
        assert run(claiming.claim(key, "you", 0)) == 2
        clock.advance(FENCE_KEPT_SECONDS - 60)
        run(claiming.claim(f"{key}-other", "me", 30))
        assert run(claiming.claim(key, "me", 30)) == 3

    def test_only_the_holder_gives_a_claim_up(
        self, claiming: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        assert run(claiming.claim(key, "you", 0)) is None
        run(claiming.claim(key, "me", 30))
        assert run(claiming.claim(key, "you", 0)) is None
        assert run(claiming.claim(key, "you", 30)) is None
        clock.advance(30)
        assert run(claiming.claim(key, "me", 0)) is None

    def test_one_of_owners_that_claim_at_once_gets_it(self, claiming: ResultStore, run: Drive, key: str) -> None:
        fences = run.together([claiming.claim(key, f"owner-{number}", 30) for number in range(8)])
        assert sorted(fences, key=str) == [1] + [None] * 7

    def test_a_lapsed_claim_goes_to_one_of_owners_that_claim_at_once(
        self, claiming: ResultStore, run: Drive, clock: FakeClock, key: str
    ) -> None:
        run(claiming.claim(key, "first", 5))
        clock.advance(5)
        fences = run.together([claiming.claim(key, f"owner-{number}", 30) for number in range(8)])
        assert sorted(fences, key=str) == [2] + [None] * 7
