"""Calls of one project: made with Celery and run here, and the other way round, with the outcomes of Celery alone."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

import pytest

from taskq_cloud.testing.waiting import until
from tests.celery.interop.conftest import Place, Places
from tests.celery.interop.loading import CELERY, OURS, PACKAGES, Project
from tests.celery.interop.wire import Names, differences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RICH: Final = [
    datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    date(2026, 1, 2),
    Decimal("1.50"),
    uuid.UUID(int=5),
    b"\xff\x00",
    "na\u00efve \U0001f600",
]
SECONDS: Final = 20


def _at(**ahead: float) -> datetime:
    return datetime.now(UTC) + timedelta(**ahead)


def _linked(p: Project, make: Callable[[Any, Any], Any]) -> list[Any]:
    """The results of a call, and of the callback or errback that it leads to."""
    noted = str(uuid.uuid4())
    return [make(p, noted), p.app.AsyncResult(noted)]


def _changed(p: Project) -> list[Any]:
    noted = [str(uuid.uuid4()), str(uuid.uuid4())]
    return [p.changed_in_place(*noted).delay(), p.app.AsyncResult(noted[0])]


def _stamped(p: Project, sig: Any) -> Any:
    sig.stamp(p.Tenant())
    return sig.apply_async()


def _members(p: Project) -> list[Any]:
    return [p.add.s(1, 1), p.mul.s(2, 3), p.sell.s("hat", 1), p.reserve.s("hat")]


CALLS: Final[dict[str, Callable[[Project], Any]]] = {
    "value": lambda p: p.add.delay(1, 2),
    "values of all kinds": lambda p: p.echo.delay(*RICH, key={"nested": RICH}),
    "long value": lambda p: p.echo.delay("x" * 20_000),
    "class": lambda p: p.reserve.delay("hat", count=2),
    "class by its name": lambda p: p.app.send_task("shop.reserve", ("hat",)),
    "handlers": lambda p: p.sell.delay("hat", left=1),
    "handlers of a failure": lambda p: p.sell.delay("hat"),
    "retries": lambda p: p.flaky.delay(2),
    "too many retries": lambda p: p.flaky.delay(9),
    "automatic retries": lambda p: p.auto.delay(2),
    "too many automatic retries": lambda p: p.auto.delay(9),
    "what a task knows": lambda p: p.about.apply_async(
        (1, "a"), priority=7, headers={"own": [1]}, shadow="other", time_limit=60, soft_time_limit=50, expires=300
    ),
    "what a task knows by default": lambda p: p.about.delay(),
    "what a task knows with reprs": lambda p: p.about.apply_async((1,), argsrepr="<hidden>", kwargsrepr="<none>"),
    "what links know": lambda p: _linked(
        p, lambda p, noted: p.add.apply_async((1, 2), link=p.about.s().set(task_id=noted, priority=2))
    ),
    "what tasks of a chain know": lambda p: p.chain(p.about.si(1), p.about.si(2).set(priority=3), p.about.si(3))(),
    "what tasks of a chord know": lambda p: p.chord([p.about.si(1), p.about.si(2).set(priority=3)], p.same.s())(),
    "priority of a task": lambda p: p.sell.delay("hat", 1),
    "stamps": lambda p: _stamped(p, p.about.s(1)),
    "stamps of a chain": lambda p: _stamped(p, p.chain(p.about.si(1), p.about.si(2))),
    "stamps of a chord": lambda p: _stamped(p, p.chord([p.about.si(1)], p.about.si(2))),
    "link": lambda p: _linked(p, lambda p, noted: p.add.apply_async((1, 2), link=p.note.s(k=1).set(task_id=noted))),
    "immutable link": lambda p: _linked(
        p, lambda p, noted: p.add.apply_async((1, 2), link=p.note.si("x").set(task_id=noted))
    ),
    "link to another queue": lambda p: _linked(
        p, lambda p, noted: p.add.apply_async((1, 2), link=p.about.s().set(task_id=noted, queue=p.SECOND_QUEUE))
    ),
    "link_error": lambda p: _linked(p, lambda p, noted: p.fail.apply_async(link_error=p.told.s().set(task_id=noted))),
    "link_error after retries": lambda p: _linked(
        p, lambda p, noted: p.flaky.s(9).on_error(p.told.s().set(task_id=noted)).apply_async()
    ),
    "link_error that hears the error": lambda p: p.fail.apply_async(link_error=p.heard.s()),
    "link_errors of a chain": lambda p: _linked(
        p,
        lambda p, noted: (
            p.chain(p.fail.s(), p.add.s(1)).apply_async(link_error=[p.told.s().set(task_id=noted), p.heard.s()]).parent
        ),
    ),
    "errback that is not known": lambda p: _linked(
        p, lambda p, noted: p.fail.apply_async(link_error=p.by_name("shop.told").set(task_id=noted))
    ),
    "changed in place": _changed,
    "chain": lambda p: p.chain(p.add.s(1, 2), p.mul.s(3), p.add.si(5, 5), p.add.s(1)).delay(),
    "chain across queues": lambda p: p.chain(
        p.add.s(1, 2), p.routed.s(), p.about.s().set(queue=p.SECOND_QUEUE)
    ).delay(),
    "chain with a failure": lambda p: p.chain(p.add.s(1, 2), p.fail.s()).delay(),
    "chain of names": lambda p: p.chain(p.by_name("shop.add", 1, 2), p.by_name("shop.mul", 3)).delay(),
    "group": lambda p: p.group(_members(p)).delay(),
    "group in a chain": lambda p: p.chain(p.add.s(1, 2), p.group(p.add.s(1), p.mul.s(2))).delay(),
    "chord": lambda p: p.chord([p.add.s(1, 1), p.mul.s(2, 3)], p.total.s()).delay(),
    "chord of classes": lambda p: p.chord(_members(p), p.same.s()).delay(),
    "chord in a chain": lambda p: p.chain(p.add.s(1, 2), p.group(p.add.s(1), p.mul.s(2)), p.total.s(), p.add.s(1))(),
    "chord in a chord": lambda p: p.chord(
        [p.chord([p.add.s(1, 1), p.add.s(2, 2)], p.total.s()), p.add.s(1, 1)], p.total.s()
    )(),
    "chord of chains": lambda p: p.chord([p.chain(p.add.s(1, 1), p.mul.s(2)), p.add.s(0, 1)], p.total.s())(),
    "chord with a chain": lambda p: p.chord([p.add.s(1, 1)], p.chain(p.total.s(), p.mul.s(7)))(),
    "chord across queues": lambda p: p.chord([p.routed.s(), p.about.si().set(queue=p.SECOND_QUEUE)], p.same.s())(),
    "chord with a retried member": lambda p: p.chord([p.flaky.s(1), p.add.s(1, 1)], p.total.s())(),
    "chord with a failed member": lambda p: p.chord([p.fail.s(), p.add.s(1, 1)], p.total.s())(),
    "chord with an errback": lambda p: _linked(
        p,
        lambda p, noted: p.chord([p.fail.s(), p.add.s(1, 1)], p.total.s().on_error(p.told.s().set(task_id=noted)))(),
    ),
    "replaced by a task": lambda p: p.replaced.delay("task"),
    "replaced by a chain": lambda p: p.replaced.delay("chain"),
    "replaced by a chord": lambda p: p.replaced.delay("chord"),
    "replaced in a chain": lambda p: p.chain(p.replaced.s("chain"), p.add.s(1)).delay(),
    "replaced by a group in a chain": lambda p: p.chain(p.replaced.s("group"), p.total.s()).delay(),
    "replaced in a chord": lambda p: p.chord([p.replaced.s("chain"), p.replaced.s("chord")], p.total.s()).delay(),
    "map": lambda p: p.reserve.map(["hat", "coat"]).delay(),
    "starmap": lambda p: p.add.starmap([(1, 2), (3, 4)]).delay(),
    "chunks": lambda p: p.add.chunks([(1, 2), (3, 4), (5, 6)], 2).delay(),
    "countdown": lambda p: p.about.apply_async(countdown=2),
    "eta": lambda p: p.add.apply_async((1, 2), eta=_at(seconds=2)),
    "expiry": lambda p: p.add.apply_async((1, 2), expires=_at(seconds=60)),
    "expired": lambda p: p.add.apply_async((1, 2), expires=_at(seconds=-60)),
    "zlib": lambda p: p.echo.apply_async(("x" * 1000,), compression="zlib"),
    "bzip2": lambda p: p.echo.apply_async(("x" * 1000,), compression="bzip2"),
    "pickle": lambda p: p.same.apply_async((complex(1, 2) == 1,), serializer="pickle"),
    "pickle and gzip": lambda p: p.total.apply_async(([1, 2],), serializer="pickle", compression="gzip"),
    "yaml": lambda p: p.echo.apply_async((1, "a"), {"key": [1]}, serializer="yaml"),
    "exception": lambda p: p.fail.delay(),
    "exception of a key": lambda p: p.unusual.delay("key"),
    "exception of the project": lambda p: p.unusual.delay("own"),
    "exception with a cause": lambda p: p.unusual.delay("nested"),
    "exception with many arguments": lambda p: p.unusual.delay("unicode"),
    "wrong arguments": lambda p: p.app.send_task("shop.add", (1, 2, 3)),
    "route": lambda p: p.routed.delay(),
    "route of send_task": lambda p: p.app.send_task("shop.routed", (1,)),
    "own states": lambda p: p.progress.delay("done"),
    "task called by a task": lambda p: p.spawns.delay(4),
}
"""The calls, by name; each returns a result, or several."""


class Reader:
    """Shows results as plain values, in which ids are numbers and queues have fixed names."""

    def __init__(self, project: Project, place: Place, deadline: float) -> None:
        self._project, self._place, self._names, self._deadline = project, place, Names(), deadline

    def outcome(self, result: Any) -> Any:
        """The outcome of one result or several."""
        if isinstance(result, list):
            return [self.outcome(each) for each in result]
        members = getattr(result, "results", None)
        if members is not None:
            return {"members": [self.outcome(each) for each in members]}
        found = self._project.app.AsyncResult(result.id)
        try:
            value = found.get(timeout=max(0.2, self._deadline - time.monotonic()), interval=0.1, propagate=False)
        except Exception as error:
            return {"state": found.state, "not read": type(error).__name__}
        traceback = (found.traceback or "").strip().splitlines()
        shown = {
            "state": found.state,
            "value": _shown(value),
            "name": found.name,
            "args": found.args,
            "kwargs": found.kwargs,
            "retries": found.retries,
            "error": traceback[-1] if traceback else None,
            "journal": self._journal(result.id, found.state),
        }
        return self._names(json.loads(self._fixed(json.dumps(shown, default=repr))))

    def _journal(self, task_id: str, state: str) -> list[Any]:
        """The lines of a task's handlers, which Celery calls once the result can be read."""
        if _has_line(self._place, task_id, "before_start") and state in ("SUCCESS", "FAILURE"):
            until(partial(_has_line, self._place, task_id, "after_return"), f"the handlers of {task_id}", SECONDS)
        return journal_of(self._place, task_id)

    def _fixed(self, text: str) -> str:
        return text.replace(self._place.queue, "<queue>").replace(self._place.second_queue, "<second queue>")


def _shown(value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"raised": type(value).__name__, "args": [repr(each) for each in value.args], "text": str(value)}
    return value


def has_state(result: Any, state: str) -> bool:
    return bool(result.state == state)


def journal_of(place: Place, task_id: str) -> list[Any]:
    """The lines that the handlers of a task's run have written."""
    lines = [json.loads(line) for line in place.journal.read_text().splitlines()]
    return [[name, *rest] for name, _, key, *rest in lines if key == task_id]


def _has_run(place: Place, key: str) -> bool:
    return bool(journal_of(place, key))


def _has_line(place: Place, key: str, handler: str) -> bool:
    return any(name == handler for name, *_ in journal_of(place, key))


class Direction:
    """A caller and a worker, with the outcomes of all calls."""

    def __init__(self, caller: Project, other: Project, place: Place) -> None:
        self.caller, self.other, self.place = caller, other, place
        self.started: dict[str, Any] = {}
        self.read: dict[str, Any] = {}

    def start(self) -> None:
        for name, call in CALLS.items():
            try:
                self.started[name] = call(self.caller)
            except Exception as error:
                self.started[name] = []
                self.read[name] = {"not called": repr(error)}

    def outcomes(self, reader: Project) -> dict[str, Any]:
        """The outcome of each call, as this project reads it."""
        deadline = time.monotonic() + SECONDS
        return {
            name: self.read.get(name) or Reader(reader, self.place, deadline).outcome(result)
            for name, result in self.started.items()
        }


@pytest.fixture(scope="module")
def directions(places: Places, loaded: Callable[[Place], dict[str, Project]]) -> dict[tuple[str, str], Direction]:
    """Caller and worker -> the started calls. Each worker serves queues of its own."""
    made = {}
    for worker in PACKAGES:
        place = places.make()
        sides = loaded(place)
        place.worker(worker)
        for caller in PACKAGES:
            other = next(package for package in PACKAGES if package != caller)
            made[caller, worker] = Direction(sides[caller], sides[other], place)
    for direction in made.values():
        direction.start()
    return made


@pytest.fixture(scope="module")
def celerys(directions: dict[tuple[str, str], Direction]) -> dict[str, Any]:
    """The outcomes of the calls with Celery alone."""
    direction = directions[CELERY, CELERY]
    return direction.outcomes(direction.caller)


WAYS: Final = [(CELERY, OURS), (OURS, CELERY), (OURS, OURS)]


KNOWN: Final[dict[str, str]] = {
    r"\.argsrepr$": "Celery writes the arguments of later tasks as a list, because it has read them from JSON",
    r"^(what tasks of a chord know|chord across queues): .*\[1\]\.root_id$": "members have one root: see test_wire",
    r"^stamps of a chord: \.value\.(group|ignore_result)$": "a body is no member of its own header's group",
    r"^expired: \.error$": "the record of a revoked task says why it was revoked",
}
"""Places at which outcomes may differ, as patterns, each with the reason."""


def _is_known(name: str, place: str) -> bool:
    return any(re.search(pattern, f"{name}: {place}") for pattern in KNOWN)


@pytest.mark.parametrize(("caller", "worker"), WAYS)
@pytest.mark.parametrize("reads", ["caller", "other"])
def test_outcomes_are_celerys(
    caller: str, worker: str, reads: str, directions: dict[tuple[str, str], Direction], celerys: dict[str, Any]
) -> None:
    direction = directions[caller, worker]
    found = direction.outcomes(direction.caller if reads == "caller" else direction.other)
    found_differences = [
        (name, *each)
        for name in CALLS
        for each in differences(celerys[name], found[name])
        if not _is_known(name, each[0])
    ]
    assert found_differences == []


def test_calls_that_ignore_their_results_run_once(directions: dict[tuple[str, str], Direction]) -> None:
    keys = {way: "-".join(way) for way in directions}
    results = {way: directions[way].caller.quiet.delay(key) for way, key in keys.items()}
    for way, key in keys.items():
        place = directions[way].place
        until(partial(_has_run, place, key), f"the run of {key}", SECONDS)
        assert directions[way].other.app.AsyncResult(results[way].id).state == "PENDING"


def test_ignored_task_keeps_its_state_and_a_rejected_one_fails(directions: dict[tuple[str, str], Direction]) -> None:
    tasks = {"ignored": "CUSTOM", "rejected": "FAILURE"}
    started = {(way, task): getattr(directions[way].caller, task).delay() for way in directions for task in tasks}
    for (way, task), result in started.items():
        read = directions[way].other.app.AsyncResult(result.id)
        until(partial(has_state, read, tasks[task]), f"the state of {task} for {way}", SECONDS)


def test_each_side_forgets_results_of_the_other(directions: dict[tuple[str, str], Direction]) -> None:
    for direction in directions.values():
        result = direction.caller.add.delay(1, 2)
        assert result.get(timeout=SECONDS, interval=0.1) == 3
        other = direction.other.app.AsyncResult(result.id)
        assert other.successful()
        other.forget()
        assert direction.caller.app.AsyncResult(result.id).state == "PENDING"


def test_each_side_restores_saved_groups_of_the_other(directions: dict[tuple[str, str], Direction]) -> None:
    for direction in directions.values():
        started = direction.caller.group(direction.caller.add.s(each, 1) for each in range(3)).delay()
        started.save()
        restored = direction.other.app.GroupResult.restore(started.id)
        assert restored.get(timeout=SECONDS, interval=0.1) == [1, 2, 3]


def test_calls_revoked_by_one_side_do_not_run_on_a_worker_of_the_other(
    directions: dict[tuple[str, str], Direction],
) -> None:
    """Ours revokes by a record in the result store; Celery's worker hears of Celery's broadcasts only."""
    direction = directions[CELERY, OURS]
    result = direction.caller.add.apply_async((1, 2), countdown=3)
    direction.other.app.control.revoke(result.id)
    with pytest.raises(Exception, match="revoked"):
        result.get(timeout=SECONDS, interval=0.1)
    assert result.state == "REVOKED"
