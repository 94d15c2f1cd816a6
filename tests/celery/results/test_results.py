"""Results behave as Celery's do: each scenario runs on Celery and on ours, and has one outcome."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

import pytest

from tests.celery.results.sides import Side

SCENARIOS: list[Callable[[Side], Any]] = []


def scenario(function: Callable[[Side], Any]) -> Callable[[Side], Any]:
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_scenario_has_celerys_outcome(function: Callable[[Side], Any], alike: Any) -> None:
    alike(function)


def done(side: Side, task_id: str, value: Any = 42, **options: Any) -> Any:
    side.app.backend.mark_as_done(task_id, value, **options)
    return side.app.AsyncResult(task_id)


def failed(side: Side, task_id: str, error: BaseException | None = None) -> Any:
    side.app.backend.mark_as_failure(task_id, error or KeyError("blue"), traceback="Some traceback")
    return side.app.AsyncResult(task_id)


def facts(result: Any) -> Any:
    return {
        "state": result.state,
        "status": result.status,
        "result": result.result,
        "info": result.info,
        "traceback": result.traceback,
        "children": result.children,
        "ready": result.ready(),
        "successful": result.successful(),
        "failed": result.failed(),
        "exists": result.exists(),
        "name": result.name,
        "args": result.args,
        "kwargs": result.kwargs,
        "worker": result.worker,
        "retries": result.retries,
        "queue": result.queue,
        "ends": result.date_done is not None,
    }


# -- one task


@scenario
def success(side: Side) -> Any:
    result = done(side, "s1")
    return facts(result), result.get(), result.maybe_throw(), result.get(propagate=False)


@scenario
def failure(side: Side) -> Any:
    result = failed(side, "f1")
    return facts(result), result.get(propagate=False), result.maybe_throw(propagate=False)


@scenario
def failure_is_raised(side: Side) -> Any:
    return failed(side, "f2").get()


@scenario
def failure_is_raised_from_cache(side: Side) -> Any:
    result = failed(side, "f3")
    result.get(propagate=False)
    return result.get()


@scenario
def failure_with_a_cause_in_its_arguments(side: Side) -> Any:
    return facts(failed(side, "f4", ValueError("a", 1, {"b": [2]}, object)))["result"].args[:3]


@scenario
def retry(side: Side) -> Any:
    side.app.backend.mark_as_retry("r1", KeyError("green"), traceback="tb")
    return facts(side.app.AsyncResult("r1"))


@scenario
def started(side: Side) -> Any:
    side.app.backend.mark_as_started("st1", pid=7, hostname="h")
    return facts(side.app.AsyncResult("st1"))


@scenario
def revoked(side: Side) -> Any:
    side.app.backend.mark_as_revoked("rv1", "revoked")
    return facts(side.app.AsyncResult("rv1"))


@scenario
def revoked_is_raised(side: Side) -> Any:
    side.app.backend.mark_as_revoked("rv2", "revoked")
    return side.app.AsyncResult("rv2").get()


@scenario
def unknown(side: Side) -> Any:
    return facts(side.app.AsyncResult("nobody"))


@scenario
def custom_state(side: Side) -> Any:
    side.app.backend.store_result("c1", {"done": 3}, "PROGRESS")
    return facts(side.app.AsyncResult("c1"))


@scenario
def success_stays(side: Side) -> Any:
    result = done(side, "s2")
    side.app.backend.mark_as_failure("s2", KeyError("late"))
    return side.app.AsyncResult("s2").state, result.state


@scenario
def timeout(side: Side) -> Any:
    return side.app.AsyncResult("never").get(timeout=0.01, interval=0.01)


@scenario
def timeout_of_retried_task(side: Side) -> Any:
    side.app.backend.mark_as_retry("r2", KeyError("green"))
    return side.app.AsyncResult("r2").get(timeout=0.01, interval=0.01)


@scenario
def timeout_has_its_class_on_the_result(side: Side) -> Any:
    result = side.app.AsyncResult("never")
    try:
        result.get(timeout=0.01, interval=0.01)
    except result.TimeoutError:
        return "caught", result.TimeoutError is side.errors.TimeoutError
    return "missed"


@scenario
def zero_timeout_returns_ready_result(side: Side) -> Any:
    return done(side, "s3").get(timeout=0)


@scenario
def get_calls_callback(side: Side) -> Any:
    seen: list[Any] = []
    value = done(side, "s4").get(callback=lambda *args: seen.append(args))
    result = failed(side, "f5")
    other = result.get(propagate=False, callback=lambda *args: seen.append(args))
    return value, other, seen


@scenario
def callback_of_a_known_result(side: Side) -> Any:
    seen: list[Any] = []
    result = done(side, "s5")
    result.get()
    result.get(callback=lambda *args: seen.append(args))
    return seen


@scenario
def on_interval_is_called(side: Side) -> Any:
    called: list[int] = []
    try:
        side.app.AsyncResult("never").get(timeout=0.01, interval=0.01, on_interval=lambda: called.append(1))
    except side.errors.TimeoutError:
        return bool(called)
    return "no timeout"


@scenario
def on_message_is_refused(side: Side) -> Any:
    return done(side, "s6").get(on_message=print)


@scenario
def ignored_result_is_none(side: Side) -> Any:
    result = side.app.AsyncResult("ignored")
    before = result.ignored
    result.ignored = True
    return before, result.ignored, result.get()


@scenario
def result_without_an_id(side: Side) -> Any:
    return side.app.AsyncResult(None)


@scenario
def id_of_another_type(side: Side) -> Any:
    result = side.app.AsyncResult(1)
    return str(result), repr(result), result == side.app.AsyncResult(1), hash(result) == hash(1)


@scenario
def forget(side: Side) -> Any:
    parent, result = done(side, "p1"), done(side, "s7")
    result.parent = parent
    result.get()
    result.forget()
    return result.state, parent.state


@scenario
def parents_failure_is_raised(side: Side) -> Any:
    result = done(side, "s8")
    result.parent = failed(side, "f6")
    return result.get()


@scenario
def parents_failure_is_not_raised_without_follow(side: Side) -> Any:
    result = done(side, "s9")
    result.parent = failed(side, "f7")
    return result.get(follow_parents=False), result.get(propagate=False)


@scenario
def parents_of_a_mocked_backend(side: Side) -> Any:
    result = side.app.AsyncResult("mocked")
    result.backend = Mock(name="backend")
    result.backend.get_task_meta.return_value = {}
    result.backend.wait_for_pending.return_value = 84
    result.parent = side.result.EagerResult("p", KeyError("foo"), "FAILURE")
    with pytest.raises(KeyError):
        result.get(propagate=True)
    asked = result.backend.wait_for_pending.called
    result.parent = side.result.EagerResult("p", 42, "SUCCESS")
    return asked, result.get(propagate=True), result.backend.wait_for_pending.called


@scenario
def wait_is_get(side: Side) -> Any:
    return done(side, "s10").wait()


@scenario
def throw_raises(side: Side) -> Any:
    return done(side, "s11").throw(KeyError("thrown"))


# -- as a value


@scenario
def equality(side: Side) -> Any:
    one, other = side.app.AsyncResult("1"), side.app.AsyncResult("2")
    return [
        one == copy.copy(one),
        one == "1",
        one == other,
        one != other,
        one == 1,
        one != 1,
        one.__eq__(1) is NotImplemented,
        hash(one) == hash("1"),
        {one: 1}[side.app.AsyncResult("1")],
        {"1": 1}.get(one),
    ]


@scenario
def texts(side: Side) -> Any:
    one = side.app.AsyncResult("1")
    kinds = side.result
    return [
        str(one),
        repr(one),
        repr(side.app.ResultSet([one])),
        repr(side.app.GroupResult("g", [one])),
        str(side.app.GroupResult("g", [one])),
        repr(kinds.EagerResult("e", 1, "SUCCESS")),
        repr(kinds.AsyncResult("1", app=side.app)),
    ]


@scenario
def pickled_with_app_as_current(side: Side) -> Any:
    side.app.set_current()
    one = side.app.AsyncResult("1", parent=side.app.AsyncResult("0"))
    group = side.app.GroupResult("g", [one])
    eager = side.result.EagerResult("e", 1, "SUCCESS", "tb", "n")
    again = [pickle.loads(pickle.dumps(each)) for each in (one, group, eager)]
    return [
        again,
        again[0].parent,
        again[0].app is side.app,
        type(again[0].backend) is type(side.app.backend),
        again[1] == group,
        again[2].name,
        again[2].traceback,
    ]


@scenario
def reduced(side: Side) -> Any:
    one = side.result.AsyncResult("1", app=side.app, parent=side.app.AsyncResult("0"))
    make, arguments = one.__reduce__()
    return make is side.result.AsyncResult, arguments[0], arguments[2:], make(*arguments).id


@scenario
def copied(side: Side) -> Any:
    one = side.app.AsyncResult("1", parent=side.app.AsyncResult("0"))
    again = copy.copy(one)
    eager = copy.copy(side.result.EagerResult("e", 1, "SUCCESS"))
    return again, again.parent, again.backend is one.backend, again.app is one.app, eager, eager.result


@scenario
def tuples(side: Side) -> Any:
    root = side.app.AsyncResult("0")
    one = side.app.AsyncResult("1", parent=root)
    group = side.app.GroupResult("g", [one, side.app.GroupResult("h", [side.app.AsyncResult("2")])], parent=root)
    again = [side.result.result_from_tuple(each.as_tuple(), side.app) for each in (root, one, group)]
    return [
        one.as_tuple(),
        group.as_tuple(),
        one.as_list(),
        again,
        again == [root, one, group],
        again[1].parent,
        again[2].parent,
        again[2].results[0].parent,
        side.result.result_from_tuple(one, side.app) is one,
        side.result.result_from_tuple(("id", None), side.app),
        side.result.result_from_tuple([["id", None], None], side.app),
    ]


@scenario
def relations(side: Side) -> Any:
    of = side.result
    return [
        issubclass(of.EagerResult, of.AsyncResult),
        issubclass(of.GroupResult, of.ResultSet),
        issubclass(of.AsyncResult, of.ResultBase),
        issubclass(of.ResultSet, of.ResultBase),
        isinstance(side.app.AsyncResult("1"), of.AsyncResult),
        of.AsyncResult.parent,
        of.AsyncResult[int] is not None,
        sorted(of.__all__)[:6] == sorted(side.of("result").__all__)[:6],
    ]


@scenario
def task_id_can_be_set(side: Side) -> Any:
    one = side.app.AsyncResult("1")
    one.task_id = "2"
    return one.id, one.task_id


@scenario
def deleted_result_is_removed_from_its_backend(side: Side) -> Any:
    with patch.object(side.result.AsyncResult, "backend") as backend:
        one = side.app.AsyncResult("gone")
        one.backend = backend
        twin = copy.copy(one)
        del one
        gc.collect()
        return any(call.args == (twin,) for call in backend.remove_pending_result.mock_calls)


@scenario
def date_done_is_read(side: Side) -> Any:
    return done(side, "s12").date_done.utcoffset()


# -- children


@scenario
def children_are_results(side: Side) -> Any:
    result = side.app.AsyncResult("1")
    child = side.app.AsyncResult("2")
    result._set_cache({"children": [[(child.id, None), None]], "status": "SUCCESS", "result": 1})
    return result.children, len(result.children)


def family(side: Side) -> Any:
    request = side.of("app.task").Context(id="root", task="add", _children=[])
    request.children.extend([side.app.AsyncResult("child1"), side.app.AsyncResult("child2")])
    root = done(side, "root", 1, request=request)
    other = side.of("app.task").Context(id="child1", task="add", _children=[side.app.AsyncResult("grandchild")])
    done(side, "child1", 2, request=other)
    done(side, "child2", 3)
    done(side, "grandchild", 4)
    return root


@scenario
def iterdeps(side: Side) -> Any:
    return list(family(side).iterdeps())


@scenario
def iterdeps_of_unready_result(side: Side) -> Any:
    return list(side.app.AsyncResult("never").iterdeps())


@scenario
def intermediate_iterdeps(side: Side) -> Any:
    return list(side.app.AsyncResult("never").iterdeps(intermediate=True))


@scenario
def collect(side: Side) -> Any:
    return list(family(side).collect()), family(side).get_leaf()


@scenario
def graph(side: Side) -> Any:
    result = family(side)
    made = result.graph
    out = io.StringIO()
    made.to_dot(out)
    return list(made), repr(made), made is result.graph, made.topsort(), out.getvalue()


@scenario
def graph_of_unready_result(side: Side) -> Any:
    return side.app.AsyncResult("never").graph


@scenario
def intermediate_graph(side: Side) -> Any:
    return list(side.app.AsyncResult("never").build_graph(intermediate=True))


@scenario
def backend_reads_children(side: Side) -> Any:
    family(side)
    return side.app.backend.get_children("root"), side.app.backend.get_children("never")


# -- then


@scenario
def then_is_called_when_the_end_is_read(side: Side) -> Any:
    seen: list[Any] = []
    result = side.app.AsyncResult("t1")
    promise = result.then(seen.append)
    before = list(seen)
    done(side, "t1")
    result.get()
    return before, seen, promise.ready, result.on_ready.ready


@scenario
def then_of_a_known_result(side: Side) -> Any:
    seen: list[Any] = []
    result = done(side, "t2")
    result.get()
    result.then(seen.append)
    return seen


@scenario
def then_of_an_eager_result(side: Side) -> Any:
    seen: list[Any] = []
    side.result.EagerResult("e", 1, "SUCCESS").then(seen.append)
    return seen


# -- control


@scenario
def revoke(side: Side) -> Any:
    with patch.object(type(side.app), "control", Mock()) as control:
        side.app.AsyncResult("1").revoke(terminate=True, signal="KILL", wait=True, timeout=3)
        side.app.AsyncResult("1").revoke_by_stamped_headers({"a": "b"}, terminate=True)
        side.app.ResultSet([side.app.AsyncResult("1"), side.app.AsyncResult("2")]).revoke()
        return [
            (each.args, each.kwargs)
            for each in (*control.revoke.mock_calls, *control.revoke_by_stamped_headers.mock_calls)
        ]


# -- waiting inside tasks


@scenario
def blocking_is_refused(side: Side) -> Any:
    results: list[Any] = []
    result = done(side, "b1")
    group = side.app.GroupResult("g", [result])
    eager = side.result.EagerResult("e", 1, "SUCCESS")
    with side.result.denied_join_result():
        for each in (
            result.get,
            group.get,
            group.join,
            group.join_native,
            eager.get,
            side.result.assert_will_not_block,
        ):
            try:
                results.append(each())
            except RuntimeError as refused:
                results.append(str(refused).partition("!")[0])
        results.append([each(disable_sync_subtasks=False) for each in (result.get, group.get, group.join, eager.get)])
        with side.result.allow_join_result():
            results.append(result.get())
    return results


@scenario
def blocking_can_be_replaced(side: Side) -> Any:
    with patch.object(side.result, "task_join_will_block", return_value=True):
        return done(side, "b2").get()


# -- eager results


@scenario
def eager(side: Side) -> Any:
    of = side.result.EagerResult
    made = [
        of("1", 42, "SUCCESS", name="n"),
        of("2", KeyError("x"), "FAILURE", "tb"),
        of("3", KeyError("x"), "RETRY", "tb"),
        of("4", None, "REVOKED"),
    ]
    out: list[Any] = []
    for each in made:
        out.append((each.state, each.status, each.result, each.info, each.traceback, each.name, each.ready()))
        out.append(
            (each.successful(), each.failed(), each.get(propagate=False), each.children, each.supports_native_join)
        )
        out.append((each.forget(), each.ignored, each.task_id, each.as_tuple()))
    return out


@scenario
def eager_keeps_its_exception(side: Side) -> Any:
    error = KeyError("x")
    result = side.result.EagerResult("1", error, "FAILURE")
    try:
        result.get()
    except KeyError as raised:
        return raised is error, result.result is error
    return "not raised"


@scenario
def eager_with_another_exception(side: Side) -> Any:
    return side.result.EagerResult("1", "not an exception", "FAILURE").get()


@scenario
def eager_is_revoked(side: Side) -> Any:
    result = side.result.EagerResult("1", 42, "SUCCESS", "tb")
    returned = result.revoke()
    return returned, result.state, result.result, result.traceback, result.get(propagate=False)


@scenario
def eager_revoked_is_raised(side: Side) -> Any:
    result = side.result.EagerResult("1", 42, "SUCCESS")
    result.revoke(terminate=True)
    return result.get()


@scenario
def eager_ignores_options(side: Side) -> Any:
    return side.result.EagerResult("1", 42, "SUCCESS").get(timeout=1, interval=3, no_ack=True, callback=print)


@scenario
def warning_of_results_that_are_not_stored(side: Side) -> Any:
    app = side.make_app("eager", task_always_eager=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = app.AsyncResult("1").state
    return state, [(each.category.__name__, str(each.message)) for each in caught if each.category is RuntimeWarning]


@scenario
def result_of_a_backend_that_returns_nothing(side: Side) -> Any:
    result = done(side, "n1")
    backend = Mock(READY_STATES=side.of("states").READY_STATES)
    backend.wait_for_pending.return_value = None
    result.backend = backend
    return result.get(), backend.add_pending_result.called


@scenario
def forget_of_a_chain(side: Side) -> Any:
    first = Mock(name="first")
    second = side.app.AsyncResult("ch2", parent=first)
    third = side.app.AsyncResult("ch3", parent=second)
    done(side, "ch2")
    done(side, "ch3")
    third.forget()
    return first.forget.call_count, second.result, third.result


@scenario
def graph_of_mocked_dependencies(side: Side) -> Any:
    result = side.make_app("cached", result_cache_max=100).AsyncResult("1")
    result.backend._cache["1"] = {"status": "SUCCESS", "result": None}
    children = [side.result.EagerResult(str(number), number, "SUCCESS") for number in range(3)]
    result.iterdeps = Mock()
    pairs = ((None, result), (result, children[0]), (children[0], children[1]), (children[1], children[2]))
    result.iterdeps.return_value = pairs
    return list(result.graph), result.get_leaf(), list(result.collect())


@scenario
def children_that_are_known(side: Side) -> Any:
    result = side.app.AsyncResult("1")
    result._cache = {"children": [side.result.EagerResult("2", 2, "SUCCESS")], "status": "SUCCESS", "result": 1}
    result.backend = Mock(READY_STATES=side.of("states").READY_STATES)
    return result.children, list(result.iterdeps()), result.state


@pytest.mark.parametrize("value", [None, "1991-10-05T05:41:06", "1991-10-05T05:41:06+02:00", "1991-10-05T05:41:06Z"])
def test_date_done_is_read_as_in_celery(value: Any, alike: Any) -> None:
    def of(side: Side) -> Any:
        result = side.app.AsyncResult("1")
        result._cache = {"date_done": value}
        return value if (done := result.date_done) is None else done.isoformat()

    assert not str(alike(of)).startswith("raised")


@scenario
def pickle_as_the_serializer(side: Side) -> Any:
    app = side.make_app("pickle", result_serializer="pickle", accept_content=["pickle", "json"], result_cache_max=100)
    app.backend.mark_as_done("pk1", "the")
    app.backend.mark_as_failure("pk2", KeyError("quick"), traceback="tb")
    app.backend.mark_as_retry("pk3", KeyError("brown"), traceback="tb")
    return [facts(app.AsyncResult(task_id)) for task_id in ("pk1", "pk2", "pk3")]
