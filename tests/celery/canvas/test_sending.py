"""Messages of workflows: queues, stamps, children of the calling task, and the calls of tasks and backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import ANY, Mock, patch

import pytest

from taskq_cloud.testing.tasks import run_tasks
from tests.celery.canvas.sides import Side, make_side
from tests.celery.canvas.test_composing import Alike
from tests.celery.canvas.test_running import WORKFLOWS, workflows


@pytest.fixture
def own() -> Any:
    side = make_side("taskq_cloud.celery")
    yield side
    side.app.close()


def _declare(s: Side, function: Callable[..., Any], **options: Any) -> Any:
    name = f"proj.tasks.{function.__name__}"
    return s.app.task(name=name, shared=False, **options)(function)


def test_tasks_of_a_chain_go_to_their_own_queues(own: Side) -> None:
    own.app.conf.task_routes = {"proj.tasks.mul": {"queue": "routed"}}
    own.app.conf.task_create_missing_queues = True
    result = own.chain(own.add.s(1, 2).set(queue="first"), own.mul.s(2), own.add.s(1).set(queue="last")).delay()
    assert [run_tasks(own.app.native, [queue]) for queue in ("last", "routed", "first")] == [0, 0, 1]
    assert [run_tasks(own.app.native, [queue]) for queue in ("last", "routed", "last")] == [0, 1, 1]
    assert result.get(timeout=1) == 7


def test_body_and_callbacks_go_to_their_own_queues(own: Side) -> None:
    callback = own.same.s().set(queue="callbacks")
    result = own.chord([own.add.s(1, 2)], own.tsum.s().set(queue="bodies", link=[callback])).delay()
    assert [run_tasks(own.app.native, [queue]) for queue in ("bodies", "celery", "bodies", "callbacks")] == [0, 1, 1, 1]
    assert result.get(timeout=1) == 3


def test_option_of_a_chain_is_for_its_first_task_and_that_of_a_group_for_all(own: Side) -> None:
    own.chain(own.add.s(1, 2), own.add.s(3)).apply_async(queue="first")
    assert [run_tasks(own.app.native, [queue]) for queue in ("celery", "first", "celery")] == [0, 1, 1]
    own.group(own.add.s(1, 2), own.chain(own.add.s(1, 2), own.add.s(3)), queue="all").apply_async()
    assert [run_tasks(own.app.native, [queue]) for queue in ("celery", "all", "celery")] == [0, 2, 1]


def test_router_sees_the_arguments_of_later_tasks(own: Side) -> None:
    seen = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
        seen.append((name, tuple(args), getattr(task, "name", None)))
        return {"queue": f"queue-{args[0]}"} if args else None

    own.app.conf.task_routes = (route,)
    own.chain(own.same.s(7), own.add.s(8)).delay()
    assert seen == [("proj.tasks.same", (7,), "proj.tasks.same"), ("proj.tasks.add", (8,), "proj.tasks.add")]
    assert [run_tasks(own.app.native, [queue]) for queue in ("queue-8", "queue-7", "queue-8")] == [0, 1, 1]


def test_stamps_reach_every_task(own: Side) -> None:
    seen = {}

    def tell(self: Any, *args: Any) -> Any:
        seen[args[-1]] = (self.request.stamped_headers, self.request.stamps)
        return args[-1]

    task = _declare(own, tell, bind=True)
    workflow = own.chain(
        task.s("first"),
        own.group(task.s("member"), own.chain(task.s("inner"), task.s("last member"))),
        task.s("body").set(link=[task.s("callback")]),
    )
    answer = {"on_signature": lambda self, sig, **headers: {"tenant": "acme"}}
    workflow.stamp(type("Visitor", (own.StampingVisitor,), answer)())
    workflow.delay()
    run_tasks(own.app.native)
    assert sorted(seen) == ["body", "callback", "first", "inner", "last member", "member"]
    assert all(names == ["tenant"] and stamps["tenant"] == "acme" for names, stamps in seen.values())


def test_workflows_are_children_of_the_task_that_calls_them(own: Side) -> None:
    def starts(kind: str) -> str:
        workflow = {
            "group": own.group(own.add.s(1, 2), own.add.s(3, 4)),
            "chain": own.chain(own.add.s(1, 2), own.add.s(3)),
            "chord": own.chord([own.add.s(1, 2)], own.tsum.s()),
        }[kind]
        return str(workflow.apply_async().id)

    task = _declare(own, starts)
    for kind in ("group", "chain", "chord"):
        result = task.delay(kind)
        run_tasks(own.app.native)
        assert result.get(timeout=1)
        assert result.children, kind
        assert all(child.ready() for child in result.children)


@pytest.mark.parametrize("add_to_parent", [True, False])
def test_group_is_added_to_its_parent_as_in_celery(alike: Alike, add_to_parent: bool) -> None:
    def scenario(s: Side) -> Any:
        stack = s.module("_state")._task_stack
        stack.push(s.add)
        s.add.push_request(called_directly=False)
        try:
            result = s.group(s.add.s(1, 2), s.add.s(3, 4)).apply_async(add_to_parent=add_to_parent)
            chord = s.chord([s.add.s(1, 2)], s.tsum.s()).apply_async()
            return [s.add.request.children, result, chord]
        finally:
            s.add.pop_request()
            stack.pop()

    alike(scenario)


@workflows
def test_calls_of_tasks_are_celerys(alike: Alike, name: str) -> None:
    """The tasks that run first are called with Celery's arguments and options."""

    def scenario(s: Side) -> Any:
        task_class = s.module("app.task").Task
        with patch.object(task_class, "apply_async", autospec=True, return_value=None) as called:
            result = WORKFLOWS[name](s).apply_async(countdown=3)
        return [[[call.args[0].name, call.args[1:], _options(call.kwargs)] for call in called.call_args_list], result]

    alike(scenario)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    # Celery's tasks share a producer. A body is among the options of each member, and its size is counted elsewhere.
    return {name: of for name, of in sorted(given.items()) if name not in ("producer", "chord", "root_id", "parent_id")}


@workflows
def test_backend_is_told_of_chords_as_in_celery(alike: Alike, name: str) -> None:
    def scenario(s: Side) -> Any:
        backend = s.app.backend
        with patch.object(backend, "apply_chord") as applied, patch.object(backend, "set_chord_size") as sized:
            WORKFLOWS[name](s).apply_async()
        return [
            [[call.args[0][0], len(call.args[0][1]), call.args[1], call.kwargs] for call in applied.call_args_list],
            [call.args for call in sized.call_args_list],
        ]

    alike(scenario)


def test_map_calls_its_task_as_in_celery(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        found = []
        for sig in (s.add.map([1, 2]), s.add.starmap(iter([(1, 2)]))):
            sig.type = Mock()
            sig.apply_async(countdown=3, expires=None)
            found.append(sig.type.apply_async.call_args)
        return [[call.args, call.kwargs] for call in found]

    alike(scenario)


def test_chunks_call_their_group_as_in_celery(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        chunks = s.add.chunks([(1, 2)], 1)
        group = chunks.group = Mock()
        chunks.apply_async(countdown=3)
        chunks(queue="q")
        return [[call.args, call.kwargs] for call in group.return_value.apply_async.call_args_list]

    alike(scenario)


def test_election_asks_the_control(own: Side) -> None:
    sig = own.add.s(1, 2)
    sig.freeze("the-id")
    with patch.object(own.app, "control", Mock()) as control:
        assert sig.election().id == "the-id"
    control.election.assert_called_with("the-id", "task", ANY, connection=ANY)
    assert control.election.call_args.args[2].id == "the-id"


def test_unregistered_task_is_sent_by_name(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        sig = s.signature("other.tasks.f", (1,), {"k": 2}, app=s.app, queue="q")
        with patch.object(type(s.app), "send_task") as sent:
            sig.apply_async((0,), countdown=3)
        with pytest.raises(KeyError):
            _ = sig.type
        return [sent.call_args.args[-3:], sent.call_args.kwargs]

    alike(scenario)


def test_times_of_a_chord_are_those_of_its_header(own: Side) -> None:
    result = own.chord([own.add.s(1, 2)], own.tsum.s()).apply_async(countdown=3600)
    assert run_tasks(own.app.native) == 0
    assert not result.ready()


def test_calling_a_signature_calls_the_function(alike: Alike) -> None:
    alike(lambda s: [s.add.s(1)(2), s.add.si(1, 2)(3), s.many.s(1, a=2)(0, b=3), s.many.s(1).clone((0,), {"z": 1})()])
