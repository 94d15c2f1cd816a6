"""The reads of the store during a wait for many tasks. Pauses of the wait are recorded and take no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import GroupResult, TaskQ
from taskq_cloud.core.flows import Sleep
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FINAL_VERSION, Record
from taskq_cloud.results.wait_for_all import PAGE_RESULTS, POLLS_UNTIL_ALL, wait_for_all


class Counted:
    """A result store that notes how many records each read asks for."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.capabilities, self.services = store.capabilities, store.services
        self.loads: list[int] = []

    def load(self, ids: Any) -> Any:
        self.loads.append(len(ids))
        return self._store.load(ids)

    def save(self, saved: Any) -> Any:
        return self._store.save(saved)


def loads(app: TaskQ) -> list[int]:
    store: Any = app.store
    found: list[int] = store.loads
    return found


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://", results="memory://")
    vars(app)["store"] = Counted(app.store)
    yield app
    app.close()


def end(app: TaskQ, *numbers: int, error: Exception | None = None) -> None:
    state = "SUCCESS" if error is None else "FAILURE"
    records = []
    for number in numbers:
        text = str(number) if error is None else document.encode_error(ErrorInfo.of(error))
        payload = document.encode(Message(task="add", id=f"t-{number}"), state, text, now=0)
        records.append(Record(f"t-{number}", state, FINAL_VERSION, payload))
    app.run(app.store.save(records))


def wait(app: TaskQ, size: int, after: Callable[[int], None], *, polls: int = 1000, **how: Any) -> list[float]:
    """Wait for ``size`` tasks, call ``after`` with the number of each pause, and return the pauses in seconds."""
    results = GroupResult("g", [app.AsyncResult(f"t-{number}") for number in range(size)]).leaves()
    flow: Any = wait_for_all(app, results, how.get("timeout"), 0.5, propagate=how.get("propagate", True))
    pauses: list[float] = []
    answer = None
    try:
        while len(pauses) < polls:
            step = flow.send(answer)
            answer = None
            if isinstance(step, Sleep):
                pauses.append(step.seconds)
                after(len(pauses))
            else:
                answer = app.connections.perform(step)
    except StopIteration:
        return pauses
    raise AssertionError(f"still waiting after {polls} polls")


def test_first_page_is_polled_until_it_has_ended(app: TaskQ) -> None:
    def after(pause: int) -> None:
        if pause == 6:
            end(app, *range(1000))

    wait(app, 1000, after)
    assert loads(app) == [500] * 8, "six polls in vain, and one for each page"


def test_ended_task_is_not_read_again(app: TaskQ) -> None:
    wait(app, 500, lambda pause: end(app, *range(100 * (pause - 1), 100 * pause)))
    assert loads(app) == [500, 500, 400, 300, 200, 100]


def test_thousand_tasks_that_end_in_turn_cost_fewer_reads_than_polling_all(app: TaskQ) -> None:
    wait(app, 1000, lambda pause: end(app, *range(75 * (pause - 1), min(1000, 75 * pause))))
    of_all = 1000 + sum(1000 - 75 * poll for poll in range(14))
    assert sum(loads(app)) < of_all * 2 / 3


def test_tasks_that_have_all_ended_are_read_once_without_a_pause(app: TaskQ) -> None:
    end(app, *range(1700))
    assert wait(app, 1700, lambda _: None) == []
    assert loads(app) == [500, 500, 500, 200]


def test_failure_on_a_later_page_is_raised_soon(app: TaskQ) -> None:
    end(app, 1600, error=ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        wait(app, 1700, lambda _: None, polls=POLLS_UNTIL_ALL)
    assert sum(loads(app)) == (POLLS_UNTIL_ALL - 1) * PAGE_RESULTS + 1700


def test_failure_on_the_first_page_is_raised_at_once(app: TaskQ) -> None:
    with pytest.raises(ValueError, match="bad"):
        wait(app, 1700, lambda _: end(app, 3, error=ValueError("bad")), polls=2)


def test_failure_without_propagation_does_not_end_the_wait(app: TaskQ) -> None:
    end(app, 3, error=ValueError("bad"))
    wait(app, 600, lambda _: end(app, *(n for n in range(600) if n != 3)), propagate=False)


def test_pauses_grow_with_the_number_of_missing_tasks(app: TaskQ) -> None:
    def until(app: TaskQ, size: int) -> float:
        return max(wait(app, size, lambda pause: end(app, *range(size)) if pause == 20 else None))

    assert until(app, 3000) == pytest.approx(0.5 * 6**0.5)
    assert until(app, 3010) == 0.5


def test_all_pages_are_read_when_the_time_is_over(app: TaskQ) -> None:
    end(app, *range(600, 1000))
    with pytest.raises(TimeoutError, match="600 of 1000 tasks have not ended after 0 s, for example t-0"):
        wait(app, 1000, lambda _: None, timeout=0)
    end(app, 999, *range(600))
    assert wait(app, 1000, lambda _: None, timeout=0) == []


def test_failure_found_when_the_time_is_over_is_raised(app: TaskQ) -> None:
    end(app, 900, error=ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        wait(app, 1000, lambda _: None, timeout=0)
