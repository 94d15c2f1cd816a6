"""Test when a task is not started once more, by the notes that earlier receives of its message have left."""

from __future__ import annotations

import pytest

from taskq_cloud.core.execution.steps.receives import BEGUN, ENDED, HELD, Notes, is_given_up

MOST = 5


@pytest.mark.parametrize(
    ("receive", "notes", "given_up"),
    [
        (5, {}, False),
        (5, {4: BEGUN}, True),
        (4, {2: BEGUN, 3: BEGUN}, False),
        (5, {2: BEGUN, 3: BEGUN}, True),
        (5, {2: BEGUN}, False),
        (5, {2: BEGUN, 3: HELD, 4: HELD}, True),
        (5, {2: BEGUN, 4: HELD}, False),
        (5, {3: HELD, 4: ENDED}, False),
        (7, {6: BEGUN}, False),
        (9, {5: BEGUN, 6: BEGUN, 7: ENDED, 8: BEGUN}, False),
        (10, {5: BEGUN, 6: BEGUN, 8: BEGUN, 9: BEGUN}, True),
    ],
    ids=[
        "its first run",
        "its last run has not ended",
        "it may come back",
        "two runs have not ended",
        "the end of its run may have been lost in an outage",
        "it was held back since its run",
        "nothing is known of the receive after its run",
        "its run has ended",
        "one death after many receives that were no runs",
        "some deaths after many receives",
        "as many deaths as there may be",
    ],
)
def test_task_is_given_up_on_its_last_receive_for_runs_without_an_end(
    receive: int, notes: Notes, given_up: bool
) -> None:
    assert is_given_up(receive, notes, MOST) is given_up
