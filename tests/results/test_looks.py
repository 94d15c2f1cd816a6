"""Waiting for single tasks: a store that tells of ends is heard, and waits share their looks into the others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import ResultSet, TaskQ, errors
from taskq_cloud.core.flows import Call, Compute, Sleep
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FINAL_VERSION, Record
from taskq_cloud.results import looks, waiting

LONG = 60.0
"""The pause of a wait that hears of the end, and the timeout of a test that fails."""


def record(task_id: str, state: str = "SUCCESS") -> Record:
    payload = document.encode(Message(task="add", id=task_id), state, f'"{task_id}"', now=0)
    return Record(task_id, state, FINAL_VERSION if state == "SUCCESS" else 0, payload)


class Polled:
    """A store in memory that doesn't tell of ends, and notes the ids of each read.

    Args:
        store: the store.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.capabilities, self.services = store.capabilities, store.services
        self.loads: list[list[str]] = []

    def load(self, ids: Any) -> Any:
        self.loads.append(list(ids))
        return self._store.load(ids)

    def save(self, saved: Any) -> Any:
        return self._store.save(saved)


class Waiting:
    """A wait that is driven by hand.

    Attributes:
        step: the step that it waits at.
        answer: the state that it has found; None: it still waits.
    """

    def __init__(self, app: TaskQ, task_id: str, **how: Any) -> None:
        self._app = app
        result: Any = app.AsyncResult(task_id)
        self._flow = result._wait(how.get("timeout"), how.get("interval", LONG))
        self.answer: Any = None
        self.step: Any = None
        self._send(None)

    def go_on(self, answer: Any = None) -> None:
        """End its pause, or make the computation that it waits at."""
        self._send(answer if isinstance(self.step, Sleep) else self.step.function())

    def fail(self, error: Exception) -> None:
        """Let its call fail."""
        self.step = self._flow.throw(error)

    def hears(self) -> bool:
        """Whether its pause ends now."""
        assert isinstance(self.step, Sleep)
        assert self.step.until is not None
        return self.step.until.wait(0)

    def _send(self, answer: Any) -> None:
        try:
            self.step = self._flow.send(answer)
            while isinstance(self.step, Call):
                self.step = self._flow.send(self._app.connections.perform(self.step))
        except StopIteration as stop:
            self.answer = stop.value


@pytest.fixture(params=["memory", "sqlite"])
def telling(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskQ]:
    results = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/results.db"
    app = TaskQ("tests", broker="memory://", results=results)
    yield app
    app.close()


@pytest.fixture
def polled() -> Iterator[TaskQ]:
    app = TaskQ("tests", broker="memory://", results="memory://")
    vars(app)["store"] = Polled(app.store)
    yield app
    app.close()


def end(app: TaskQ, *ids: str) -> None:
    app.run(app.store.save([record(each) for each in ids]))


def when_it_listens(app: TaskQ, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event that is set once a wait rests."""
    resting = threading.Event()
    rest = looks.Wait.rest

    def noted(wait: looks.Wait, seconds: float) -> Any:
        resting.set()
        return rest(wait, seconds)

    monkeypatch.setattr(looks.Wait, "rest", noted)
    return resting


# -- a store that tells


def test_get_hears_of_the_end(telling: TaskQ, monkeypatch: pytest.MonkeyPatch) -> None:
    resting = when_it_listens(telling, monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        value = threads.submit(telling.AsyncResult("t").get, interval=LONG, timeout=LONG)
        assert resting.wait(LONG)
        end(telling, "t")
        assert value.result(LONG / 2) == "t"


async def test_aget_hears_of_the_end(telling: TaskQ, monkeypatch: pytest.MonkeyPatch) -> None:
    resting = when_it_listens(telling, monkeypatch)
    value = asyncio.create_task(telling.AsyncResult("t").aget(interval=LONG))
    assert await asyncio.to_thread(resting.wait, LONG)
    end(telling, "t")
    async with asyncio.timeout(LONG / 2):
        assert await value == "t"
    await telling.aclose()


def test_end_between_the_look_and_the_pause_is_heard(telling: TaskQ) -> None:
    waiting = Waiting(telling, "t")
    assert not waiting.hears()
    end(telling, "t")
    assert waiting.hears()


@pytest.mark.parametrize(
    "wait",
    [
        lambda app: app.AsyncResult("t").get(timeout=0),
        lambda app: ResultSet([app.AsyncResult("t"), app.AsyncResult("t-2")]).get(timeout=0),
        lambda app: [*ResultSet([app.AsyncResult("t")]).iter_native(timeout=0)],
    ],
    ids=["one", "all", "iterator"],
)
def test_each_call_of_a_wait_ends_in_time(tmp_path: Path, wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LEAST_WAIT_SECONDS", 0.01)
    results = f"sqlite:///{tmp_path}/results.db"
    with closing(TaskQ("tests", broker="memory://", results=results)) as app:
        app.AsyncResult("t").load()
    app = TaskQ("tests", broker="memory://", results=results)
    with closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.TimeoutError, match="the result store gave no answer"):
            wait(app)
        other.execute("ROLLBACK")
    app.close()


def test_state_that_is_not_final_is_not_told(telling: TaskQ) -> None:
    waiting = Waiting(telling, "t")
    telling.run(telling.store.save([record("t", "STARTED")]))
    assert not waiting.hears()


def test_group_reads_only_the_tasks_it_has_heard_of(polled: TaskQ, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = polled.store
    store.listen = store._store.listen
    results: Any = polled.GroupResult("g", [polled.AsyncResult(f"t-{number}") for number in range(50)])
    flow = results._wait(None, LONG, propagate=True)
    for number, step in zip(range(0, 50, 2), flow, strict=False):  # the pauses; None is the answer to each
        assert step.seconds == LONG
        end(polled, f"t-{number}", f"t-{number + 1}")
    assert next(flow, "it is over") == "it is over"
    assert [len(ids) for ids in store.loads] == [50] + [2] * 25


def test_set_yields_tasks_as_it_hears_of_them(telling: TaskQ) -> None:
    results = ResultSet([telling.AsyncResult(f"t-{number}") for number in range(3)])
    order = ["t-2", "t-0", "t-1"]
    found = results.iter_native(interval=LONG, timeout=LONG)
    end(telling, order[0])
    seen = [next(found)[0]]
    for task_id in order[1:]:
        timer = threading.Timer(0.02, end, [telling, task_id])
        timer.start()
        seen.append(next(found)[0])
        timer.join()
    assert seen == order


# -- a store that is polled


class Clock:
    """The monotonic clock of waits, which tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (looks, waiting):
        monkeypatch.setattr(module, "time", made)
    return made


def pass_time(clock: Clock, waits: Sequence[Waiting]) -> None:
    """Move the clock to the end of the first wait's pause, and end the pauses of all."""
    clock.now += waits[0].step.seconds
    for each in waits:
        each.go_on(answer=False)


def test_first_looks_come_soon_and_then_ever_later(polled: TaskQ) -> None:
    waiting = Waiting(polled, "t", interval=0.1)
    pauses = []
    for _ in range(12):
        pauses.append(round(waiting.step.seconds, 4))
        waiting.go_on()
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.048, 0.072, 0.1, 0.1, 0.1, 0.1]


def test_waits_that_are_due_share_a_look(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    waits = [Waiting(polled, f"t-{number}") for number in range(150)]
    store.loads.clear()
    pass_time(clock, waits)
    assert [each.answer for each in waits] == [None] * 150
    end(polled, *(f"t-{number}" for number in range(150)))
    pass_time(clock, waits)
    assert [each.answer.result for each in waits] == [f"t-{number}" for number in range(150)]
    assert [len(ids) for ids in store.loads] == [100, 50] * 2


def test_wait_is_woken_by_another_look_that_has_found_its_end(polled: TaskQ, clock: Clock) -> None:
    first, second = Waiting(polled, "t-1"), Waiting(polled, "t-2")
    end(polled, "t-2")
    clock.now += first.step.seconds
    first.go_on(answer=False)
    assert second.hears()
    second.go_on(answer=True)
    assert second.answer.result == "t-2"


def test_wait_that_is_not_due_rests_on_when_a_shared_look_fails(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    first = Waiting(polled, "t-1")
    pause = first.step.seconds
    clock.now += 0.4 * pause
    second = Waiting(polled, "t-2", timeout=pause)
    clock.now += 0.6 * pause
    load = store.load

    def out_of_reach(ids: Any) -> Any:
        raise errors.Unreachable("no answer")

    store.load = out_of_reach
    with pytest.raises(errors.Unreachable):
        first.go_on(answer=False)
    store.load = load
    assert not second.hears()


def test_wait_rests_anew_when_another_look_has_found_its_task_running(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    first = Waiting(polled, "t-1")
    pause = first.step.seconds
    clock.now += 0.4 * pause
    second = Waiting(polled, "t-2", timeout=pause)
    clock.now += 0.6 * pause
    first.go_on(answer=False)
    assert store.loads[-1] == ["t-1", "t-2"]
    assert second.hears()
    second.go_on(answer=True)
    end(polled, "t-2")
    clock.now += second.step.seconds
    second.go_on(answer=False)
    assert second.answer.result == "t-2", "the last look sees what has happened since the shared one"


def test_waits_for_one_task_share_a_read_of_one_record(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    waits = [Waiting(polled, "t") for _ in range(5)]
    store.loads.clear()
    pass_time(clock, waits)
    assert store.loads == [["t"]]


def test_wait_whose_look_is_far_off_is_left_out(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    far = Waiting(polled, "far")
    while far.step.seconds < 10:
        clock.now += far.step.seconds
        far.go_on(answer=False)
    store.loads.clear()
    near = Waiting(polled, "near")
    clock.now += far.step.seconds / 2
    near.go_on(answer=False)
    assert store.loads == [["near"], ["near", "far"]]


@pytest.fixture
def two_waits(polled: TaskQ, clock: Clock) -> tuple[Waiting, Waiting]:
    """Two waits, the first of which looks for both: its read is held at a step before it reads."""
    waits = Waiting(polled, "t-1"), Waiting(polled, "t-2")
    store: Any = polled.store
    load = store.load

    def held(ids: Any) -> Any:
        yield Compute(lambda: None)
        return (yield from load(ids))

    store.load = held
    store.loads.clear()
    clock.now += waits[0].step.seconds
    waits[0].go_on(answer=False)
    assert isinstance(waits[0].step, Compute), "its look is under way"
    return waits


def test_wait_rests_while_another_looks_for_it(polled: TaskQ, two_waits: tuple[Waiting, Waiting]) -> None:
    first, second = two_waits
    store: Any = polled.store
    second.go_on(answer=False)
    assert second.step.seconds == looks.LONGEST_LOOK_SECONDS
    end(polled, "t-2")
    first.go_on()
    assert second.hears()
    second.go_on(answer=True)
    assert second.answer.result == "t-2"
    assert store.loads == [["t-1", "t-2"]]


def test_look_that_fails_is_made_again_by_the_others(polled: TaskQ, two_waits: tuple[Waiting, Waiting]) -> None:
    first, second = two_waits
    end(polled, "t-2")
    with pytest.raises(errors.Unreachable):
        first.fail(errors.Unreachable("no answer, after as long as the service may take"))
    assert second.hears()
    second.go_on(answer=True)
    second.go_on()
    assert second.answer.result == "t-2"


def test_time_limit_that_is_thrown_into_a_look_ends_its_wait(polled: TaskQ, two_waits: tuple[Waiting, Waiting]) -> None:
    first, second = two_waits
    with pytest.raises(errors.SoftTimeLimitExceeded):
        first.fail(errors.SoftTimeLimitExceeded())
    assert second.hears()


def test_record_that_cannot_be_read_fails_its_own_wait_alone(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    load = store.load

    def load_readable(ids: Any) -> Any:
        if "bad" in ids:
            store.loads.append(list(ids))
            raise errors.DecodeError("the stored result of task bad is damaged", "bad")
        return (yield from load(ids))

    healthy = [Waiting(polled, f"t-{number}") for number in range(5)]
    bad = Waiting(polled, "bad")
    end(polled, *(f"t-{number}" for number in range(5)))
    store.load = load_readable
    store.loads.clear()
    pass_time(clock, healthy)
    assert [each.answer.result for each in healthy] == [f"t-{number}" for number in range(5)]
    with pytest.raises(errors.DecodeError, match="task bad"):
        bad.go_on(answer=True)
    assert [len(ids) for ids in store.loads] == [6, 1, 1, 1, 1, 1, 1]


def test_large_result_is_fetched_by_its_own_wait_alone(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    completed: list[str] = []

    def complete(stored: Record) -> Any:
        yield from ()
        completed.append(stored.id)
        if stored.id == "t-2":
            raise errors.ClaimError("the result of task t-2 can't be read", "t-2")
        return stored

    first, second = Waiting(polled, "t-1"), Waiting(polled, "t-2")
    store.load_small, store.complete = store.load, complete
    end(polled, "t-1", "t-2")
    store.loads.clear()
    clock.now += first.step.seconds
    first.go_on(answer=False)
    assert (first.answer.result, completed) == ("t-1", ["t-1"])
    with pytest.raises(errors.ClaimError):
        second.go_on(answer=True)
    assert (completed, store.loads) == (["t-1", "t-2"], [["t-1", "t-2"]])


def test_waits_share_no_read_of_a_store_that_reads_one_record_at_a_time(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    store.capabilities = replace(store.capabilities, loads_together=False)
    waits = [Waiting(polled, each) for each in ("t-1", "t-2", "t-1")]
    store.loads.clear()
    pass_time(clock, waits)
    assert store.loads == [["t-1"], ["t-2"]]


def test_wait_whose_shared_look_has_no_answer_in_time_looks_for_itself(
    polled: TaskQ, two_waits: tuple[Waiting, Waiting]
) -> None:
    first, _ = two_waits
    store: Any = polled.store
    end(polled, "t-1")
    first.fail(errors.TimeoutError("task t-1 is unknown after 0.3 s"))
    first.go_on()
    assert (first.answer.result, store.loads) == ("t-1", [["t-1"]])


def test_wait_that_is_told_during_another_look_looks_once_that_is_over(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    told: list[Any] = []

    def listen(ids: Any, listener: Any) -> Any:
        yield from ()
        told.append(listener)
        return True

    store.listen = listen
    load = store.load

    def told_after_the_read(ids: Any) -> Any:
        found = yield from load(ids)
        yield Compute(lambda: None)
        return found

    first, second = Waiting(polled, "t-1"), Waiting(polled, "t-2", interval=1.9 * LONG)
    store.load = told_after_the_read
    clock.now += first.step.seconds  # the second wait is nearly due, and not due before the look is over
    first.go_on(answer=False)
    end(polled, "t-2")
    told[1].hear("t-2")
    second.go_on(answer=True)
    assert second.step.seconds == looks.LONGEST_LOOK_SECONDS
    assert not second.hears()
    first.go_on()
    assert second.hears()
    second.go_on(answer=True)
    second.go_on()
    assert second.answer.result == "t-2"


def test_answer_that_comes_just_before_its_own_look_begins_is_taken_at_once(
    polled: TaskQ, two_waits: tuple[Waiting, Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two_waits
    begin = looks.Looks._begin

    def begun_late(self: looks.Looks, *how: Any) -> Any:
        monkeypatch.setattr(looks.Looks, "_begin", begin)
        first.go_on()
        return begin(self, *how)

    end(polled, "t-2")
    monkeypatch.setattr(looks.Looks, "_begin", begun_late)
    second.go_on(answer=False)
    assert second.answer.result == "t-2"


def test_look_that_hangs_holds_up_no_other_wait(polled: TaskQ, two_waits: tuple[Waiting, Waiting]) -> None:
    _, second = two_waits
    second.go_on(answer=False)
    end(polled, "t-2")
    second.go_on(answer=False)  # it has waited for that look long enough
    second.go_on()
    assert second.answer.result == "t-2"


def test_wait_relies_on_another_look_for_no_longer_than_its_own_timeout(polled: TaskQ, clock: Clock) -> None:
    store: Any = polled.store
    first, second = Waiting(polled, "t-1"), Waiting(polled, "t-2", timeout=0.25)
    load = store.load

    def held(ids: Any) -> Any:
        yield Compute(lambda: None)
        return (yield from load(ids))

    store.load = held
    clock.now += first.step.seconds
    first.go_on(answer=False)
    second.go_on(answer=False)
    assert second.step.seconds <= 0.25


def test_answer_of_a_look_that_began_before_the_end_was_told_is_not_the_last(
    polled: TaskQ, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = polled.store
    told: list[Any] = []

    def listen(ids: Any, listener: Any) -> Any:
        yield from ()
        told.append(listener)
        return True

    store.listen = listen
    first, second = Waiting(polled, "t-1"), Waiting(polled, "t-2")
    load = store.load

    def told_after_the_read(ids: Any) -> Any:
        found = yield from load(ids)
        yield Compute(lambda: None)
        return found

    store.load = told_after_the_read
    clock.now += first.step.seconds
    first.go_on(answer=False)  # it has read both records, and has not given the second wait its answer
    end(polled, "t-2")
    told[1].hear("t-2")
    first.go_on()
    second.go_on(answer=True)
    second.go_on()
    assert second.answer.result == "t-2"


def test_waits_that_are_over_leave_nothing(telling: TaskQ) -> None:
    waiting = Waiting(telling, "t")
    end(telling, "t")
    waiting.go_on(answer=True)
    assert waiting.answer.result == "t"
    with pytest.raises(TimeoutError):
        telling.AsyncResult("other").get(timeout=0)
    assert looks._ALL[telling]._waits == {}
