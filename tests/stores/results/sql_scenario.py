"""A short run through all that a store in an SQL database does, for databases on which the contract would take long."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import uuid4

import pytest

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import FAILURE, STARTED, SUCCESS
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import Drive


def run_scenario(store: ResultStore, run: Drive, clock: FakeClock) -> None:
    """Save, replace and load records, also those of groups; join; claim; reserve; delete, and let rows expire."""
    _records(store, run, clock)
    _texts_that_columns_cannot_have(store, run)
    _several_at_once(store, run)
    key = str(uuid4())
    assert [run(store.claim(each, "z", 60)) for each in (f"{key} ", f"{key}A", f"{key}a")] == [1, 1, 1]
    assert [run(store.join(each, "0", 2, None)) for each in (f"{key} ", f"{key}A", f"{key}a")] == [False] * 3
    assert not run(store.join(key, "0", 2, clock() + 10))
    clock.advance(10)
    assert not run(store.join(key, "1", 2, None)), "the join has begun anew"
    assert run(store.join(key, "0", 2, None))

    assert run(store.claim(key, "a", 30)) == 1
    assert run(store.claim(key, "b", 30)) is None
    assert run(store.claim(key, "a", 0)) == 1
    assert run(store.claim(key, "b", 30)) == 2
    clock.advance(30)
    assert run(store.claim(key, "b", 0)) is None

    slots = [run(store.reserve(key, 10, 20)) for _ in range(4)]
    assert slots == pytest.approx([clock() + after for after in (-20, -10, 0, 10)])


def _records(store: ResultStore, run: Drive, clock: FakeClock) -> None:
    running = a_record(STARTED, 1, value="läuft", fence=2)
    group = a_record("PENDING", value=[["g", None], [[["a", None], None]]], id=f"taskset-{uuid4()}")
    passing = a_record(expires_at=clock() + 5)
    assert run(store.save([running, group, passing])) == [True, True, True]
    assert run(store.load([running.id, group.id, passing.id, "absent"])) == {
        each.id: each for each in (running, group, passing)
    }
    done = a_record(SUCCESS, value="你好 🎉", id=running.id, fence=2)
    late = replace(a_record(FAILURE, id=running.id), fence=9)
    assert run(store.save([a_record(STARTED, 0, id=running.id, fence=9), replace(done, fence=1)])) == [False, False]
    assert sorted(run(store.save([done, late]))) == [False, True]
    (kept,) = run(store.load([running.id])).values()
    assert kept in (done, late)
    clock.advance(5)
    anew = a_record(STARTED, id=passing.id)
    assert run(store.load([passing.id])) == {}
    assert run(store.save([anew])) == [True]
    run(store.delete([anew.id, group.id]))
    assert run(store.load([anew.id, group.id])) == {}


def _texts_that_columns_cannot_have(store: ResultStore, run: Drive) -> None:
    failed = a_record(FAILURE, value={"exc_type": "ValueError", "exc_message": ["\0"], "exc_module": "builtins"})
    texts = {"traceback": "ValueError: \0 \udc80", "name": "shop.\0", "worker": "\0", "queue": "\0", "args": ["\0"]}
    failed = replace(failed, payload=json.dumps({**json.loads(failed.payload), **texts}))
    assert run(store.save([failed, other := a_record()])) == [True, True]
    assert run(store.load([failed.id, other.id])) == {failed.id: failed, other.id: other}


def _several_at_once(store: ResultStore, run: Drive) -> None:
    task_id, join = str(uuid4()), str(uuid4())
    finals = [a_record(value=number, id=task_id) for number in range(6)]
    assert sorted(run.together([store.save([record]) for record in finals])) == [[False]] * 5 + [[True]]
    assert sorted(run.together([store.join(join, str(number), 6, None) for number in range(6)])) == [False] * 5 + [True]
    fences = run.together([store.claim(join, f"owner {number}", 30) for number in range(6)])
    assert sorted(fences, key=str) == [1] + [None] * 5
