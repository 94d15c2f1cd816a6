"""Errbacks: the worker calls errbacks that take ``(request, exc, traceback)``, and sends all others."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ, chord
from taskq_cloud.core import serializers
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model.message import Acknowledge, Delivery, Message, Release, Settlement
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Abandoned, ErrorInfo, FailedCall, Invocation, Lost, Outcome, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ChordError, Retry
from taskq_cloud.testing.bench import Bench
from tests.chaos import serve

WHY = ErrorInfo("KeyError", ["no such thing", 7], "builtins", "Traceback ...")


class Shop:
    """An application whose messages a test processes, and the arguments that its errbacks were given."""

    def __init__(self, **settings: Any) -> None:
        self.app = TaskQ("shop", broker="memory://", results="memory://", **settings)
        self.bench, self.heard = Bench.of(self.app), list[Any]()
        heard = self.heard

        @self.app.task(name="add")
        def add(x: int, y: int) -> int:
            return x + y

        @self.app.task(name="fail")
        def fail(*args: Any) -> None:
            raise KeyError(*args)

        @self.app.task(name="called")
        def called(request: Any, exc: Exception, traceback: str, *own: Any, level: str = "") -> str:
            heard.append((request, exc, traceback, own, level))
            return "heard"

        @self.app.task(name="acalled")
        async def acalled(request: Any, exc: Exception, traceback: str) -> None:
            heard.append((request, exc, traceback))

        @self.app.task(name="told")
        def told(task_id: str) -> None:
            heard.append((task_id,))

        @self.app.task(name="told_more")
        def told_more(task_id: str, level: str = "") -> None:
            heard.append((task_id, level))

        @self.app.task(name="bound", bind=True)
        def bound(self: Any, task_id: str, more: Any = None, another: Any = None) -> None:
            heard.append((task_id, more, another))

        @self.app.task(name="again", autoretry_for=(OSError,))
        def again(request: Any, exc: Exception, traceback: str) -> None:
            heard.append(request.id)
            raise OSError("not now")

        @self.app.task(name="requested")
        def requested(request: Any, exc: Exception, traceback: str) -> None:
            raise Retry(when=5)

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks[name]

    def serve(self) -> None:
        serve(self.bench)


@pytest.fixture
def shop(caplog: pytest.LogCaptureFixture) -> Iterator[Shop]:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")
    shop = Shop()
    yield shop
    shop.bench.close()
    shop.app.close()


@pytest.mark.parametrize("name", ["called", "acalled"])
def test_errback_gets_request_exception_and_traceback(shop: Shop, name: str) -> None:
    result = shop.fail.s("no such thing", 7).link_error(getattr(shop, name).s()).apply_async()
    shop.serve()
    ((request, exc, traceback, *_),) = shop.heard
    assert (request.id, request.args, request.delivery_info["routing_key"]) == (
        result.id,
        ["no such thing", 7],
        "celery",
    )
    assert isinstance(exc, KeyError)
    assert exc.args == ("no such thing", 7)
    assert "in fail" in traceback


def test_errback_is_told_the_queue_of_the_failed_task_without_its_level() -> None:
    shop = Shop(task_queue_max_priority=9)
    shop.fail.s().link_error(shop.called.s()).apply_async(priority=9)
    (delivery,) = shop.app.run(shop.app.broker.receive("celery-p2", 10, 0, 30))
    processed(shop, delivery, shop.app.runner.run)
    ((request, *_),) = shop.heard
    assert request.delivery_info["routing_key"] == "celery"
    shop.app.close()


def test_own_arguments_of_an_errback_come_last(shop: Shop) -> None:
    shop.fail.s().link_error(shop.called.s(1, level="high")).apply_async()
    shop.serve()
    ((*_, own, level),) = shop.heard
    assert (own, level) == ((1,), "high")


def test_errback_is_recorded_as_child_of_the_failed_task(shop: Shop) -> None:
    result = shop.fail.s().link_error(shop.called.s()).link_error(shop.told.s()).apply_async()
    shop.serve()
    result.get(timeout=1, propagate=False)
    children = {each.id: each for each in result.children}
    assert sorted(str(each.result) for each in children.values()) == ["None", "heard"]
    assert all(each.state == "SUCCESS" for each in children.values())


@pytest.mark.parametrize(
    ("name", "rest"), [("told", ()), ("told_more", ("",)), ("bound", (None, None))], ids=["one", "two", "bound"]
)
def test_other_errbacks_are_sent_and_get_the_id(shop: Shop, name: str, rest: tuple[Any, ...]) -> None:
    result = shop.fail.s().link_error(getattr(shop, name).s()).apply_async()
    shop.serve()
    assert shop.heard == [(result.id, *rest)]


def test_unregistered_or_immutable_errback_is_sent(shop: Shop) -> None:
    elsewhere = shop.app.signature("elsewhere")
    shop.fail.s().link_error(elsewhere).link_error(shop.called.si(1, 2, 3)).apply_async()
    (delivery,) = shop.app.run(shop.app.broker.receive("celery", 10, 0, 30))
    (after, _) = processed(shop, delivery, shop.app.runner.run)
    assert isinstance(after, Acknowledge)
    waiting = shop.app.run(shop.app.broker.receive("celery", 10, 0, 5))
    assert sorted("elsewhere" in each.body for each in waiting) == [False, True]
    assert not shop.heard


def test_errbacks_of_a_body_get_the_chords_error(shop: Shop) -> None:
    body = shop.add.s(1).link_error(shop.called.s()).link_error(shop.told.s())
    result = chord([shop.fail.s(), shop.add.s(1, 1)], body).apply_async()
    shop.serve()
    told, called = sorted(shop.heard, key=len)
    assert told == (result.id,)
    assert (called[0].id, type(called[1])) == (result.id, ChordError)
    assert "KeyError()" in str(called[1])


@pytest.mark.parametrize(("name", "kind"), [("again", "OSError"), ("requested", "Retry")])
def test_failed_errback_is_recorded_and_not_retried(shop: Shop, name: str, kind: str) -> None:
    result = shop.fail.s().link_error(getattr(shop, name).s()).apply_async()
    shop.serve()
    (child,) = result.children
    assert (child.state, type(child.result).__name__) == ("FAILURE", kind)
    assert type(result.result) is KeyError


def processed(
    shop: Shop, delivery: Delivery, run: Callable[[Invocation], Outcome]
) -> tuple[Settlement, list[Invocation]]:
    """Process a delivery, with ``run`` for its invocations; return the settlement and the invocations."""
    invocations: list[Invocation] = []

    def run_task(invocation: Invocation) -> Outcome:
        invocations.append(invocation)
        return run(invocation)

    bench = shop.bench.changed(run_task=run_task)
    return bench.run(bench.pipeline.process(delivery)), invocations


def test_worker_that_stops_before_the_call_releases_the_message(shop: Shop) -> None:
    shop.fail.s().link_error(shop.called.s()).apply_async()
    (delivery,) = shop.app.run(shop.app.broker.receive("celery", 1, 0, 30))

    def run(invocation: Invocation) -> Outcome:
        return shop.app.runner.run(invocation) if invocation.failed is None else Abandoned()

    settlement, invocations = processed(shop, delivery, run)
    assert isinstance(settlement, Release)
    assert len(invocations) == 2
    shop.bench.clock.advance(45)
    shop.serve()
    assert len(shop.heard) == 1


def test_errback_whose_process_dies_has_failed(shop: Shop) -> None:
    result = shop.fail.s().link_error(shop.called.s()).apply_async()
    (delivery,) = shop.app.run(shop.app.broker.receive("celery", 1, 0, 30))

    def run(invocation: Invocation) -> Outcome:
        return shop.app.runner.run(invocation) if invocation.failed is None else Lost("killed by SIGKILL")

    settlement, _ = processed(shop, delivery, run)
    assert isinstance(settlement, Acknowledge)
    (child,) = result.children
    assert type(child.result).__name__ == "WorkerLostError"


def test_failure_is_sent_to_another_process_as_plain_data() -> None:
    def errback(request: Any, exc: Exception, traceback: str, more: int) -> list[Any]:
        return [request.message.id, type(exc).__name__, list(exc.args), traceback, more]

    failed = FailedCall(Message(task="fail", id="f"), WHY)
    run = Invocation(message=Message(task="t", id="e", args=[1]), failed=failed)
    outcome = TaskRunner({"t": TaskDefinition("t", errback, TaskOptions())}).run(pickle.loads(pickle.dumps(run)))
    assert isinstance(outcome, Succeeded)
    assert serializers.loads(outcome.payload) == [
        "f",
        "KeyError",
        ["no such thing", 7],
        WHY.traceback,
        1,
    ]
