"""Celery's ways to call tasks and to write signatures, for code that was written for Celery."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group, signature
from taskq_cloud.canvas import maybe_signature
from taskq_cloud.errors import InvalidTaskError
from taskq_cloud.testing import run_tasks


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://", results="memory://")
    noted: list[Any] = []
    vars(app)["noted"] = noted

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("bad")

    @app.task(name="note")
    def note(*values: Any) -> None:
        noted.append(values)

    @app.task(name="told")
    def told(task_id: str) -> None:
        noted.append((task_id,))

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    yield app
    app.close()


# -- callbacks and errbacks that are given at the call


@pytest.mark.parametrize(
    "linked",
    [
        lambda sig: sig,
        lambda sig: [sig],
        lambda sig: sig.to_dict(),
        lambda sig: (each for each in [sig]),
    ],
    ids=["signature", "list", "dict", "generator"],
)
def test_links_given_at_the_call_run(app: TaskQ, linked: Any) -> None:
    add, fail, note = app.tasks["add"], app.tasks["fail"], app.tasks["note"]
    add.apply_async((1, 2), link=linked(note.s("x")), link_error=note.s("never"))
    failed = fail.apply_async(link=note.s("never"), link_error=linked(app.tasks["told"].s()))
    run_tasks(app)
    assert vars(app)["noted"] == [(3, "x"), (failed.id,)]


def test_links_of_send_task_and_map_async_run(app: TaskQ) -> None:
    note = app.tasks["note"]
    app.send_task("add", (1, 2), link=note.si("by name"))
    app.tasks["add"].map_async([(1, 1), (2, 2)], link=[note.s("first"), note.s("second")])
    run_tasks(app)
    expected = [("by name",), (2, "first"), (2, "second"), (4, "first"), (4, "second")]
    assert sorted(vars(app)["noted"], key=repr) == sorted(expected, key=repr)


def test_links_of_an_eager_call_run(app: TaskQ) -> None:
    add, fail, note = app.tasks["add"], app.tasks["fail"], app.tasks["note"]
    assert add.apply((1, 2), link=chain(add.s(1), note.s())).get() == 3
    failed = fail.apply(link_error=app.tasks["told"].s())
    assert vars(app)["noted"] == [(4,), (failed.id,)]


@pytest.mark.parametrize(
    ("linked", "kind", "message"),
    [
        (5, TypeError, "task add: link takes signatures, such as task.s.*not 5"),
        (["add"], TypeError, "task add: link takes signatures.*not 'add'"),
        ({"args": []}, InvalidTaskError, "this isn't a signature"),
    ],
)
def test_wrong_link_raises_at_the_call(app: TaskQ, linked: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        app.tasks["add"].apply_async((1, 2), link=linked)


# -- how signatures are written


def test_signature_takes_arguments_and_options_by_position(app: TaskQ) -> None:
    add = app.tasks["add"]
    wanted = add.s(1, y=2).set(queue="q", countdown=3)
    assert add.signature((1,), {"y": 2}, {"queue": "q"}, countdown=3) == wanted
    assert app.signature("add", (1,), {"y": 2}, {"queue": "q"}, countdown=3) == wanted
    assert signature("add", (1,), {"y": 2}, {"queue": "q"}, countdown=3, app=app) == wanted
    assert signature("add", None, None, None) == signature("add")
    assert add.signature((1,), {}, {"queue": "q"}, queue="by name").options == {"queue": "by name"}


def test_none_in_place_of_arguments_means_no_arguments(app: TaskQ) -> None:
    note = app.tasks["note"]
    results = [note.apply_async(None), note.s().apply_async(None, None), app.send_task("note", None)]
    assert note.apply(None).get() is None
    run_tasks(app)
    assert [each.get(timeout=0) for each in results] == [None] * 3


def test_maybe_signature_reads_workflows_json_and_none(app: TaskQ) -> None:
    written = (app.tasks["add"].s(1) | app.tasks["add"].s(2)).to_dict()
    assert maybe_signature(None) is None
    assert maybe_signature(written, app=app) == maybe_signature(signature(written)) == signature(written)
    assert maybe_signature(written, app).apply_async((1,)).id
    with pytest.raises(TypeError, match=r"maybe_signature\(\) takes signatures"):
        maybe_signature(5)  # type: ignore[call-overload]


def test_interval_and_max_retries_of_a_chord_have_no_effect(app: TaskQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    header, plain = [add.s(1, 1), add.s(2, 2)], chord([add.s(1, 1), add.s(2, 2)], total.s())
    assert chord(header, total.s(), interval=1, max_retries=None) == plain
    result = chord(header)(total.s(), interval=0.5, max_retries=10)
    run_tasks(app)
    assert result.get(timeout=0) == 6


# -- a change that is thrown away


def drop_a_link(app: TaskQ) -> None:
    app.tasks["add"].s(1).link(app.tasks["note"].s())


def drop_an_option(app: TaskQ) -> None:
    sig = app.tasks["add"].s(1)
    sig.set(queue="q")
    sig.delay(2)


def drop_of_a_chain(app: TaskQ) -> None:
    line = chain(app.tasks["add"].s(1), app.tasks["add"].s(2))
    line.link_error(app.tasks["note"].s())


def drop_of_a_chord(app: TaskQ) -> None:
    joined = chord([app.tasks["add"].s(1, 1)], app.tasks["total"].s())
    joined.on_error(app.tasks["note"].s())


def drop_a_stamp(app: TaskQ) -> None:
    sides = group(app.tasks["add"].s(1, 1))
    sides.stamp(customer=7)


DROPPING = [drop_a_link, drop_an_option, drop_of_a_chain, drop_of_a_chord, drop_a_stamp]


@pytest.mark.parametrize("drop", DROPPING)
def test_thrown_away_change_warns_at_its_line(app: TaskQ, drop: Any) -> None:
    with pytest.warns(RuntimeWarning, match=r"thrown away here. Write sig = sig.link\(callback\)") as caught:
        drop(app)
    line = drop.__code__.co_firstlineno
    assert {each.filename for each in caught} == {__file__}
    assert all(line < each.lineno <= line + 3 for each in caught)


def fail_with_one_unused(app: TaskQ) -> None:
    unused = app.tasks["add"].s(1).set(queue="q")
    raise OSError(f"{unused} was not sent")


def test_used_or_kept_signature_does_not_warn(app: TaskQ) -> None:
    add, note = app.tasks["add"], app.tasks["note"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sig = add.s(1, 1).link(note.s())
        sig.delay()
        add.s(1, 1).set(queue="q").link(note.s()).delay()
        kept = [add.s(1).set(queue="q"), chain(add.s(1).set(queue="q"), add.s(2)).set(countdown=1)]
        used = [sig]
        del sig
        used.pop()
        kept.clear()
        assert add.s(1).set(queue="q") != add.s(1)
        with suppress(OSError):
            fail_with_one_unused(app)
        gc.collect()
