"""Workflows as values: their repr, their plain JSON, their copies, and the errors of wrong ones."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from taskq_cloud import Signature, TaskQ, chain, chord, group, signature
from taskq_cloud.canvas import Call
from taskq_cloud.errors import ChordError, EncodeError, ImproperlyConfigured, InvalidTaskError

app = TaskQ("shop", broker="memory://", results="memory://")


@app.task(name="add")
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="reported")
def reported(request: Any, exc: Exception, traceback: str) -> None:
    pass


@app.task(name="nothing")
def nothing() -> None:
    pass


WORKFLOWS = [
    add.s(1, y=2),
    add.si(1, 2).set(queue="other", countdown=3),
    add.s(1) | add.s(2) | add.s(3),
    group(add.s(1), add.s(2)),
    group([add.s(1)]) | total.s(),
    chain(add.s(1), group(add.s(2), add.s(3)), total.s(), group(add.s(4))),
    chord([add.s(1), chain(add.s(2), group(add.s(3)))], total.s().link_error(nothing.si())),
    add.s(1).link(add.s(2) | add.s(3)).link_error(nothing.si()),
    add.map([1, 2]),
    add.starmap([(1, 2), (3, 4)]),
    add.chunks([(1, 2), (3, 4), (5, 6)], 2),
    group(add.s(1), id="g") if False else group(add.s(1)).set(task_id="g"),
    chain(),
    group(),
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=repr)
def test_workflow_written_as_json_is_read_back_equal(workflow: Any) -> None:
    text = json.dumps(workflow.to_dict())
    again = signature(json.loads(text))
    assert again == workflow
    assert json.dumps(again.to_dict()) == text


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=repr)
def test_workflow_read_and_written_by_celery_stays_equal(workflow: Any) -> None:
    celery = pytest.importorskip("celery")
    there = celery.Celery("there", set_as_current=False, broker="memory://")
    written = json.loads(json.dumps(workflow.to_dict()))
    read = celery.signature(json.loads(json.dumps(written)), app=there)
    back = json.loads(json.dumps(read))
    assert signature(back) == workflow


@pytest.mark.parametrize(
    ("workflow", "shown"),
    [
        (add.s(1, y=2), "add(1, y=2)"),
        (add.s(1) | add.s(2), "add(1) | add(2)"),
        (chain(add.s(1), group(add.s(2), add.s(3)), total.s()), "add(1) | group([add(2), add(3)]) | total()"),
        (chord([add.s(1), add.s(2)], total.s()), "chord([add(1), add(2)], total())"),
        (add.starmap([(1, 2)]), "celery.starmap(add, [[1, 2]])"),
    ],
)
def test_repr_shows_the_calls(workflow: Any, shown: str) -> None:
    assert repr(workflow) == shown


def test_workflows_with_equal_parts_are_equal() -> None:
    assert add.s(1) | add.s(2) | add.s(3) == chain(add.s(1), chain(add.s(2), add.s(3)))
    assert add.s(1) != add.si(1)
    assert add.s(1) != add.s(2)
    sides: Any = group(add.s(1))
    assert sides != chain(add.s(1))


def test_change_returns_a_new_workflow() -> None:
    before = add.s(1)
    after = before.set(queue="other").link(add.s(2)).link_error(nothing.si()).clone((5,), {"z": 3})
    assert before == Call("add", (1,))
    assert (after.args, after.kwargs, after.options["queue"]) == ((5, 1), {"z": 3}, "other")
    assert after.link(add.s(2)) == after, "a signature that is linked twice is linked once"


def test_immutable_call_ignores_further_arguments() -> None:
    assert add.si(1).clone((2,), {"y": 3}) == add.si(1)


def calls_of(workflow: Any) -> list[Call]:
    """The tasks of a chain or group, all of which are calls."""
    assert all(isinstance(each, Call) for each in workflow.tasks)
    return list(workflow.tasks)


def test_options_and_links_of_a_workflow_go_to_the_parts_celery_gives_them() -> None:
    line = chain(add.s(1), add.s(2)).set(queue="q", task_id="last").link(add.s(3)).link_error(nothing.si())
    first, last = calls_of(line)
    assert first.options == {"queue": "q", "link_error": (nothing.si(),)}
    assert last.options == {"task_id": "last", "link": (add.s(3),), "link_error": (nothing.si(),)}
    joined = chord([add.s(1)], total.s()).set(queue="q", countdown=3).link(add.s(3)).link_error(nothing.si())
    assert isinstance(joined.body, Call)
    assert calls_of(joined.header)[0].options == {"queue": "q", "countdown": 3}
    assert joined.body.options == {"queue": "q", "link": (add.s(3),), "link_error": (nothing.si(),)}
    skewed = group(add.s(1), add.s(2)).skew(1, step=2)
    assert [each.options["countdown"] for each in calls_of(skewed)] == [1, 3]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: chain(add.s(1), 5), TypeError, r"chain\(\) takes signatures, such as task.s\(...\), not int: 5"),  # type: ignore[arg-type]
        (lambda: group("add"), TypeError, "takes signatures"),  # type: ignore[arg-type]
        (lambda: add.s(1).set(countdwon=3), TypeError, "task add: unknown option 'countdwon'"),  # type: ignore[call-arg]
        (lambda: add.s(1).link(3), TypeError, "link takes signatures"),  # type: ignore[arg-type]
        (lambda: chord([add.s(1)]).apply_async(), TypeError, "has no body"),
        (lambda: signature({"task": "celery.chain"}), InvalidTaskError, "this isn't a signature"),
        (lambda: signature({"args": []}), InvalidTaskError, "this isn't a signature"),
        (lambda: signature("add").apply_async(), RuntimeError, r"add\(\) doesn't belong to an application"),
        (lambda: add.chunks([(1, 2)], 0), ValueError, "chunks of 0"),
        (lambda: add.s(1).apply_async(5), TypeError, "args must be a list or tuple, not int"),  # type: ignore[arg-type]
        ((add.s(1) | nothing.s()).apply_async, TypeError, r"task nothing.* too many positional"),
        (lambda: chord([add.s(1)], nothing.s()).apply_async(), TypeError, "task nothing"),
        ((add.s(1) | add.s(y=object())).apply_async, EncodeError, "task add: its arguments are not serial"),
    ],
)
def test_wrong_workflow_raises_when_it_is_made_or_sent(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_signature_that_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {"task": "celery.chain", "args": [], "kwargs": {"tasks": []}, "options": {}}
    endless["kwargs"]["tasks"].append(endless)
    with pytest.raises(InvalidTaskError, match="contains itself"):
        signature(endless)


def test_chord_without_a_counting_store_is_refused() -> None:
    nowhere = TaskQ("nowhere", broker="memory://", results="disabled://")
    with pytest.raises(ImproperlyConfigured, match="a chord needs a result store that counts its members"):
        chord([nowhere.signature("a")], nowhere.signature("b")).apply_async()


def test_linked_tasks_are_checked_before_anything_is_sent() -> None:
    nowhere = TaskQ("nowhere", broker="memory://", results="disabled://")
    one = nowhere.signature("a").link(chord([nowhere.signature("a")], nowhere.signature("b")))
    with pytest.raises(ImproperlyConfigured, match="a chord needs a result store that counts its members"):
        group(one, one).apply_async()
    for wrong in (add.s(1, 2).link(total.s(1)), chain(add.s(1, 2), total.si([1]).link_error(total.s(1)))):
        with pytest.raises(TypeError, match=r"task total.*: too many positional arguments"):
            wrong.apply_async()
    assert add.s(1, 2).link_error(reported.s()).link(nothing.si()).apply_async()
    with pytest.raises(TypeError, match="task nothing"):
        add.s(1, 2).link(add.s(1).link_error(nothing.s())).apply_async()


def test_items_of_maps_are_checked_before_they_are_sent() -> None:
    assert add.starmap([(1, 2), (3,)]).apply_async()
    for wrong in (add.starmap([(1, 2), (1, 2, 3)]), add.chunks([(1, 2), (1, 2, 3)], 1), nothing.map([1])):
        with pytest.raises(TypeError, match="too many positional arguments"):
            wrong.apply_async()


def test_workflow_applied_in_place_has_its_value() -> None:
    assert chain(add.s(1, 2), add.s(3)).apply().get() == 6
    assert chord([add.s(1, 2), add.s(3, 4)], total.s()).apply().get() == 10
    assert group(add.s(1, 2), add.s(3, 4)).apply().get() == [3, 7]
    failed: Any = chain(add.s(1, 2), total.s(), add.s(1)).apply()
    assert (failed.state, failed.parent.state, failed.parent.parent.state) == ("FAILURE", "FAILURE", "SUCCESS")
    without_body: Any = chord([total.s(1)], total.s()).apply()
    assert without_body.state == "FAILURE"


@pytest.mark.parametrize(
    ("workflow", "kind"),
    [
        (add.s(1), Signature),
        (add.s(1) | add.s(2), chain),
        (chain(add.s(1)), chain),
        (group(add.s(1)), group),
        (add.chunks([(1, 2)], 1), group),
        (chord([add.s(1)], total.s()), chord),
        (group(add.s(1), add.s(2)) | total.s(), chord),
    ],
    ids=repr,
)
def test_workflow_is_an_instance_of_the_class_with_celerys_name(workflow: Any, kind: Any) -> None:
    assert isinstance(workflow, kind)
    assert isinstance(workflow, Signature)
    assert not any(isinstance(workflow, other) for other in (chain, group, chord) if other is not kind)
    assert kind.from_dict(json.loads(json.dumps(workflow.to_dict()))) == workflow
    assert kind.from_dict(workflow.to_dict(), app=app).app is app


def test_from_dict_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidTaskError, match="this isn't a signature of a chain"):
        chain.from_dict(add.s(1).to_dict())
    with pytest.raises(InvalidTaskError, match="this isn't a signature"):
        Signature.from_dict({"args": []})


def test_signature_class_makes_a_call() -> None:
    wanted = add.s(1, y=2).set(queue="q", countdown=3)
    made = Signature("add", (1,), {"y": 2}, {"queue": "q"}, countdown=3, app=app)
    assert (made, type(made), made.apply().get()) == (wanted, Call, 3)
    assert Signature("add", immutable=True) == add.si()
    with pytest.raises(TypeError, match="a signature takes the name of a task, not 5"):
        Signature(5)
    with pytest.raises(TypeError, match="unknown option 'countdwon'"):
        Signature("add", countdwon=3)


def test_constructor_options_equal_options_that_are_set() -> None:
    by_name = signature("add", (1, 2))
    assert chain(by_name, add.s(3), task_id="c", queue="q") == chain(by_name, add.s(3)).set(task_id="c", queue="q")
    assert group([add.s(1)], task_id="g", queue="q") == group([add.s(1)]).set(task_id="g", queue="q")
    assert chord([add.s(1)], total.s(), task_id="b") == chord([add.s(1)], total.s()).set(task_id="b")
    assert chain(by_name, app=app).apply().get() == group(by_name, app=app).apply().get()[0] == 3


def test_attribute_of_a_workflow_cannot_be_set() -> None:
    for workflow, name in [
        (add.s(1), "args"),
        (chain(add.s(1)), "tasks"),
        (group(), "id"),
        (chord([], total.s()), "body"),
    ]:
        with pytest.raises(FrozenInstanceError):
            setattr(workflow, name, None)


@pytest.mark.parametrize(
    ("make", "hears"),
    [
        (lambda bad, good, note: bad.link_error(note), lambda result: [result.id]),
        (lambda bad, good, note: chain(bad, good).link_error(note), lambda result: [result.parent.id]),
        (lambda bad, good, note: chord([bad, good], good.link_error(note)), lambda result: [result.id]),
        (lambda bad, good, note: chord([bad, good], good).link_error(note), lambda result: [result.id]),
        (lambda bad, good, note: chord([bad.link_error(note), good], good), lambda result: [result.parent[0].id]),
        (
            lambda bad, good, note: chord([bad, good], chain(good, good)).link_error(note),
            lambda result: [result.parent.id],
        ),
        (
            lambda bad, good, note: chord([bad, good], group(good, good)).link_error(note),
            lambda result: [r.id for r in result],
        ),
        (lambda bad, good, note: chord([good, good], good).link_error(note), lambda _: []),
    ],
)
@pytest.mark.parametrize("kind", ["told", "called"])
def test_errbacks_in_place_are_called_for_failed_tasks(
    make: Any, hears: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    eager, heard = TaskQ("eager", broker="memory://", results="memory://"), []

    @eager.task(name="good")
    def good(*_: Any) -> int:
        return 1

    @eager.task(name="bad")
    def bad(*_: Any) -> None:
        raise LookupError("no")

    @eager.task(name="told")
    def told(task_id: str) -> None:
        heard.append(task_id)

    @eager.task(name="called")
    def called(request: Any, exc: Exception, traceback: str) -> None:
        heard.append(request.id)
        assert isinstance(exc, LookupError | ChordError)
        raise ValueError("an errback's failure is nobody's")

    note = eager.tasks[kind].s()
    result = make(bad.s(), good.s(), note).apply()
    assert heard == hears(result)
    if kind == "called" and heard:
        assert "an errback's failure is nobody's" in caplog.text


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=repr)
def test_copied_and_pickled_workflow_is_equal(workflow: Any) -> None:
    assert copy.copy(workflow) == copy.deepcopy(workflow) == workflow
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(workflow, protocol))
        assert (again, type(again), again.app) == (workflow, type(workflow), None)


def test_copy_keeps_its_application_and_unpickled_workflow_has_none() -> None:
    line = chain(add.s(1, 2), add.s(3))
    assert copy.deepcopy({"line": [line]})["line"][0].apply().get() == 6
    again = pickle.loads(pickle.dumps(line))
    with pytest.raises(RuntimeError, match="doesn't belong to an application"):
        again.delay()
    assert signature(again, app=app).apply().get() == 6


def test_deep_copy_has_arguments_of_its_own() -> None:
    sig = add.s([1], y={"z": [2]}).set(headers={"h": [3]}).link(add.s([4]))
    copied = copy.deepcopy(sig)
    copied.args[0].append(5)
    copied.kwargs["y"]["z"].append(5)
    copied.options["headers"]["h"].append(5)
    copied.options["link"][0].args[0].append(5)
    assert sig == add.s([1], y={"z": [2]}).set(headers={"h": [3]}).link(add.s([4]))


@pytest.mark.parametrize("name", ["kwargs", "options"])
def test_mappings_of_a_call_are_read_only(name: str) -> None:
    for sig in (add.s(1, y=2), add.s(1).clone((2,), {"y": 3}), add.s().set(queue="q"), signature(add.s(y=1).to_dict())):
        with pytest.raises(TypeError, match="does not support item assignment"):
            getattr(sig, name)["z"] = 1


def test_call_stays_when_the_given_arguments_change() -> None:
    args, kwargs = [1], {"y": 2}
    options: dict[str, Any] = {"queue": "q"}
    sig = add.signature(args, kwargs, options)
    changed = sig.replace(args, kwargs, options).clone(kwargs=kwargs)
    args.append(5)
    kwargs["z"], options["countdown"] = 1, 2
    assert sig == changed == add.s(1, y=2).set(queue="q")
