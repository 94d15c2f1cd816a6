"""The two sides that scenarios run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.celery.canvas.sides import Side, make_side, outcome
from tests.celery_state import CELERY, state_as_before


@pytest.fixture(scope="module")
def theirs() -> Iterator[Side]:
    with state_as_before(CELERY):
        side = make_side("celery")
        yield side
        side.app.close()


@pytest.fixture(scope="module")
def ours() -> Iterator[Side]:
    side = make_side("taskq_cloud.celery")
    yield side
    side.app.close()


@pytest.fixture
def alike(theirs: Side, ours: Side) -> Callable[[Callable[[Side], Any]], Any]:
    """Check that a scenario has one outcome on both sides, and return that outcome."""

    def check(scenario: Callable[[Side], Any]) -> Any:
        expected = outcome(scenario, theirs)
        assert outcome(scenario, ours) == expected
        return expected

    return check
