"""The joins in which the members of a header arrive, and the numbers that the members have there."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from taskq_cloud.core.workflows.chord_members import SHARD_MEMBERS, JoinPlace, Membership, join_places
from taskq_cloud.core.workflows.signatures import CHORD_PLACES


@pytest.mark.parametrize("size", [1, SHARD_MEMBERS, SHARD_MEMBERS + 1, 5 * SHARD_MEMBERS + 50])
def test_members_of_each_join_are_numbered_from_zero(size: int) -> None:
    members: dict[tuple[str, int], set[str]] = defaultdict(set)
    for index in range(size):
        for place in join_places("g", index, size):
            members[place.join, place.size].add(place.member)
    for (_, join_size), numbers in members.items():
        assert numbers == {str(number) for number in range(join_size)}


def placed(*places: list[Any]) -> Membership:
    options = {"chord_size": 2, CHORD_PLACES: list(places)}
    return Membership.read("g", 1, {"task": "body", "options": options})


def test_place_of_a_message_of_version_0_1_is_read() -> None:
    assert placed(["j/1", "250", 100], ["j", "1", 2]).path == (JoinPlace("j/1", "50", 100), JoinPlace("j", "1", 2))


@pytest.mark.parametrize("place", [["j", "x", 2], ["j", "-1", 2], ["j", "150", 100], ["j", "1", 0], ["j", 1, 2]])
def test_place_that_the_join_does_not_have_is_refused(place: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"isn't a place in a join|has no member|invalid literal"):
        placed(place)
