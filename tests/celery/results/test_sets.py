"""Sets of results and groups behave as Celery's do: each scenario runs on Celery and on ours."""

from __future__ import annotations

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


def stored(side: Side, prefix: str, *values: Any) -> list[Any]:
    """Results, stored: of a success, of a failure for an exception, and none for a missing value."""
    made = []
    for number, value in enumerate(values):
        task_id = f"set-{prefix}{number}"
        if isinstance(value, BaseException):
            side.app.backend.mark_as_failure(task_id, value)
        elif value is not ...:
            side.app.backend.mark_as_done(task_id, value)
        made.append(side.app.AsyncResult(task_id))
    return made


def facts(results: Any) -> Any:
    return [
        results.ready(),
        results.successful(),
        results.failed(),
        results.waiting(),
        results.completed_count(),
        len(results),
        list(results),
        results.supports_native_join,
    ]


@scenario
def all_succeeded(side: Side) -> Any:
    made = side.app.ResultSet(stored(side, "a", 1, 2, 3))
    return facts(made), made.get(), made.join(), made.join_native(), made[1], made[0:2]


@scenario
def one_failed(side: Side) -> Any:
    made = side.app.ResultSet(stored(side, "b", 1, KeyError("x"), 3))
    return facts(made), made.get(propagate=False), made.join(propagate=False), made.maybe_throw(propagate=False)


@scenario
def failure_is_raised_by_join(side: Side) -> Any:
    return side.app.ResultSet(stored(side, "b", 1, KeyError("x"), 3)).join()


@scenario
def failure_is_raised_by_join_native(side: Side) -> Any:
    return side.app.ResultSet(stored(side, "b", 1, KeyError("x"), 3)).join_native()


@scenario
def failure_is_raised_by_maybe_throw(side: Side) -> Any:
    return side.app.ResultSet(stored(side, "b", 1, KeyError("x"), 3)).maybe_throw()


@scenario
def one_missing(side: Side) -> Any:
    return facts(side.app.ResultSet(stored(side, "c", 1, ..., 3)))


@scenario
def timeout_of_join(side: Side) -> Any:
    return side.app.ResultSet(stored(side, "c", 1, ..., 3)).join(timeout=0.01, interval=0.01)


@scenario
def timeout_of_join_native(side: Side) -> Any:
    return side.app.ResultSet(stored(side, "c", 1, ..., 3)).join_native(timeout=0.01, interval=0.01)


@scenario
def empty_set(side: Side) -> Any:
    made = side.app.ResultSet([])
    return facts(made), made.get(), made.join(), list(made.iter_native())


@scenario
def callback_of_join(side: Side) -> Any:
    seen: list[Any] = []
    made = side.app.ResultSet(stored(side, "d", 1, 2))
    return made.join(callback=lambda *args: seen.append(args)), seen


@scenario
def callback_of_join_native(side: Side) -> Any:
    seen: set[Any] = set()
    made = side.app.ResultSet(stored(side, "d", 1, 2))
    return made.join_native(callback=lambda *args: seen.add(args)), seen


@scenario
def callback_of_maybe_throw(side: Side) -> Any:
    seen: list[Any] = []
    side.app.ResultSet(stored(side, "d", 1, 2)).maybe_throw(callback=lambda *args: seen.append(args))
    return seen


@scenario
def on_message_is_refused_by_join(side: Side) -> Any:
    return side.app.ResultSet(stored(side, "d", 1, 2)).join(on_message=print)


@scenario
def iter_native(side: Side) -> Any:
    found = side.app.ResultSet(stored(side, "e", 1, KeyError("x"))).iter_native()
    return sorted((task_id, meta["status"], repr(meta["result"])) for task_id, meta in found)


@scenario
def iter_native_with_on_interval(side: Side) -> Any:
    called: list[int] = []
    made = side.app.ResultSet(stored(side, "e", ...))
    try:
        list(made.iter_native(timeout=0.01, interval=0.01, on_interval=lambda: called.append(1)))
    except side.errors.TimeoutError:
        return bool(called)
    return "no timeout"


@scenario
def nested_group_is_joined(side: Side) -> Any:
    inner = side.app.GroupResult("inner", stored(side, "f", 1, 2))
    outer = side.app.GroupResult("outer", [*stored(side, "g", 3), inner])
    return outer.join_native(), outer.join(), outer.get()


@scenario
def as_a_set(side: Side) -> Any:
    one, two, three = (side.app.AsyncResult(each) for each in "123")
    made = side.app.ResultSet([one])
    made.add(one)
    made.add(two)
    made.update([two, three])
    steps = [list(made)]
    made.remove(one)
    steps.append(list(made))
    made.remove("2")
    steps.append(list(made))
    made.discard("2")
    made.discard(two)
    steps.append(list(made))
    made.clear()
    return [*steps, list(made)]


@scenario
def remove_of_a_stranger(side: Side) -> Any:
    return side.app.ResultSet([side.app.AsyncResult("1")]).remove("2")


@scenario
def clear_keeps_the_list(side: Side) -> Any:
    own = [side.app.AsyncResult("1")]
    made = side.app.ResultSet(own)
    same = made.results is own
    made.clear()
    return same, own


@scenario
def equality(side: Side) -> Any:
    one, two = side.app.AsyncResult("1"), side.app.AsyncResult("2")
    of = side.app
    return [
        of.ResultSet([one]) == of.ResultSet([one]),
        of.ResultSet([one]) == of.ResultSet([two]),
        of.ResultSet([one]) == of.GroupResult("g", [one]),
        of.GroupResult("g", [one]) == of.GroupResult("g", [one]),
        of.GroupResult("g", [one]) == of.GroupResult("h", [one]),
        of.GroupResult("g", [one]) == of.GroupResult("g", [one], parent=two),
        of.GroupResult("g", [one]) == "g",
        of.GroupResult("g", [one]) == 1,
        of.GroupResult("g", [one]) != 1,
        of.ResultSet([one]) == [one],
        hash(of.GroupResult("g", [one])) == hash("g"),
        bool(of.GroupResult(None, [])),
        bool(of.GroupResult("g", [])),
        bool(of.GroupResult(None, [one])),
    ]


@scenario
def set_is_not_hashable(side: Side) -> Any:
    return hash(side.app.ResultSet([]))


@scenario
def saved_group(side: Side) -> Any:
    root = side.app.AsyncResult("root")
    inner = side.app.GroupResult("saved-inner", [side.app.AsyncResult("i1")])
    made = side.app.GroupResult("saved", [side.app.AsyncResult("1"), inner], parent=root)
    kept = made.save() is made
    restored = side.app.GroupResult.restore("saved")
    again = side.result.GroupResult.restore("saved", app=side.app)
    once_more = side.result.GroupResult.restore("saved", backend=side.app.backend)
    same = restored == made == again == once_more
    nothing = made.delete()
    return kept, restored, restored.parent, same, nothing, side.app.GroupResult.restore("saved")


@scenario
def group_that_was_not_saved(side: Side) -> Any:
    return side.app.GroupResult.restore("unsaved"), side.app.backend.restore_group("unsaved")


@scenario
def group_in_another_backend(side: Side) -> Any:
    backend = side.make_backend()
    made = side.app.GroupResult("other", [side.app.AsyncResult("1")])
    made.save(backend=backend)
    found = side.app.GroupResult.restore("other", backend=backend)
    made.delete(backend=backend)
    return found, side.app.GroupResult.restore("other"), side.app.backend.restore_group("other", cache=False)


@scenario
def reduced_group(side: Side) -> Any:
    one = side.app.AsyncResult("1")
    make, arguments = side.result.GroupResult("g", [one], app=side.app).__reduce__()
    return make is side.result.GroupResult, arguments, make(*arguments) == side.app.GroupResult("g", [one])


@scenario
def children_of_a_group(side: Side) -> Any:
    made = side.app.GroupResult("g", [side.app.AsyncResult("1")])
    return made.children, made.children is made.results


@scenario
def group_without_results(side: Side) -> Any:
    made = side.app.GroupResult("g")
    return made.id, made.results, made.parent, bool(made)


@scenario
def forget(side: Side) -> Any:
    made = side.app.ResultSet(stored(side, "h", 1, 2))
    made.get()
    made.forget()
    return [each.state for each in made]


@scenario
def app_of_a_set(side: Side) -> Any:
    kind = side.result.ResultSet
    one = side.app.AsyncResult("1")
    made = kind([one])
    given = kind([], app=side.app)
    given.app = "another"
    return made.app is side.app, made.backend is side.app.backend, given.app


class Listed:
    """Results of a fixed kind, in place of a store."""

    @staticmethod
    def make(side: Side, state: str, value: Any) -> Any:
        class Stub(side.result.AsyncResult):  # type: ignore[name-defined, misc]
            @property
            def state(self) -> str:
                return state

            @property
            def result(self) -> Any:
                return value

            def get(self, *args: Any, propagate: bool = True, **kwargs: Any) -> Any:
                if propagate and isinstance(value, BaseException):
                    raise value
                return value

        return Stub


@scenario
def results_of_a_derived_class(side: Side) -> Any:
    good = Listed.make(side, "SUCCESS", 42)("good", app=side.app)
    bad = Listed.make(side, "FAILURE", KeyError("baz"))("bad", app=side.app)
    made = side.app.ResultSet([good, bad])
    return facts(made), made.join(propagate=False), side.app.ResultSet([good]).join()


@scenario
def backend_with_get_many(side: Side) -> Any:
    class Simple(side.of("backends.base").SyncBackendMixin):  # type: ignore[misc]
        ids: tuple[str, ...] = ()

        def _ensure_not_eager(self) -> None:
            pass

        def get_many(self, *args: Any, **kwargs: Any) -> Any:
            return ((task_id, {"result": i, "status": "SUCCESS"}) for i, task_id in enumerate(self.ids))

    backend = Simple()
    backend.ids = ("3", "1", "2")
    made = side.app.GroupResult("g", [side.app.AsyncResult(each, backend=backend) for each in "123"])
    with patch(f"{side.root}.Celery.backend", new=backend):
        return made.join_native(), list(made.iter_native()), backend.is_async


@scenario
def supports_native_join_of_the_backend(side: Side) -> Any:
    made = side.app.ResultSet([side.app.AsyncResult("1")])
    made.results[0].backend = Mock(supports_native_join=False)
    joined: list[str] = []
    made.join = lambda *args, **kwargs: joined.append("join")
    made.join_native = lambda *args, **kwargs: joined.append("join_native")
    made.get()
    made.results[0].backend = Mock(supports_native_join=True)
    made.get()
    return joined


@scenario
def failed_join_report(side: Side) -> Any:
    made = side.app.ResultSet(stored(side, "k", 1, KeyError("x")))
    list(made.iter_native())
    return list(made._failed_join_report())


@scenario
def metas(side: Side) -> Any:
    made = side.app.ResultSet(stored(side, "l", 1, 2))
    return sorted(meta["result"] for meta in made._iter_meta())


@scenario
def saved_group_without_members(side: Side) -> Any:
    made = side.app.GroupResult("saved-empty", [], parent=side.app.AsyncResult("p"))
    made.save()
    restored = side.app.GroupResult.restore("saved-empty")
    return restored.results, restored.parent, restored == made


@scenario
def backend_of_another_kind(side: Side) -> Any:
    made = side.app.GroupResult("g", [])
    out: list[str] = []
    calls: list[Callable[[], Any]] = [
        lambda: made.save(backend=object()),
        lambda: made.delete(backend=object()),
        lambda: side.app.GroupResult.restore("g", backend=object()),
    ]
    for call in calls:
        try:
            call()
        except AttributeError:
            out.append("refused")
    return out


@scenario
def members_of_any_kind(side: Side) -> Any:
    member = Mock(state="FAILURE")
    member.backend.is_cached.return_value = True
    made = side.app.GroupResult("g", [member])
    made.maybe_throw(propagate=False)
    made.forget()
    return next(made._failed_join_report()) is member, member.forget.called, len(made), made[0] is member


@scenario
def group_of_a_tuple_in_the_oldest_form(side: Side) -> Any:
    made = side.result.result_from_tuple(["uid", []], app=side.app)
    return made.id, made.results, type(made).__name__


@scenario
def then_of_a_set_of_eager_results(side: Side) -> Any:
    made = side.app.ResultSet([side.result.EagerResult("1", 1, "SUCCESS")])
    return made.ready(), made.on_ready is made.on_ready
