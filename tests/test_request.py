"""Tests of a task's request, which describes the running call, and of ``signature_from_request``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import BoundTask, TaskQ, chain, chord, group
from taskq_cloud.testing import run_tasks

NAMES = ["callbacks", "errbacks", "chain", "chord", "eta", "expires", "ignore_result", "is_eager", "correlation_id"]
NAMES += ["reply_to", "replaced_task_nesting", "task", "shadow", "group_index", "called_directly"]


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://", results="memory://")
    seen: list[dict[str, Any]] = []
    vars(app)["seen"] = seen

    @app.task(name="ask", bind=True, max_retries=2)
    def ask(self: BoundTask, *values: Any, retries: int = 0) -> Any:
        seen.append({name: getattr(self.request, name) for name in NAMES})
        if self.request.retries < retries:
            self.retry(countdown=0)
        return list(values)

    @app.task(name="again", bind=True)
    def again(self: BoundTask, *values: Any, times: int) -> Any:
        seen.append({"sig": self.signature_from_request(kwargs={"times": times - 1}), "here": self.request})
        return list(values)

    @app.task(name="total")
    def total(*values: Any) -> Any:
        return list(values)

    yield app
    app.close()


def test_request_shows_callbacks_errbacks_and_rest_of_the_chain(app: TaskQ) -> None:
    ask, total = app.tasks["ask"], app.tasks["total"]
    expires = datetime.now(UTC) + timedelta(hours=1)
    first = ask.s(1).set(link=total.s("linked"), link_error=total.si("failed"), expires=expires, shadow="x")
    chain(first, total.s(2), total.s(3)).delay()
    run_tasks(app)
    (seen,) = vars(app)["seen"]
    assert [each["args"] for each in seen["callbacks"]] == [["linked"]]
    assert [each["args"] for each in seen["errbacks"]] == [["failed"]]
    assert [each["args"] for each in seen["chain"]] == [[3], [2]], "the chain lists its last task first"
    assert (seen["chord"], seen["eta"], seen["expires"]) == (None, None, expires.isoformat())
    assert (seen["is_eager"], seen["ignore_result"], seen["task"], seen["shadow"]) == (False, False, "ask", "x")
    assert (seen["reply_to"], seen["replaced_task_nesting"], seen["called_directly"]) == (None, 0, False)


def test_request_of_a_chord_member_shows_index_and_body(app: TaskQ) -> None:
    ask, total = app.tasks["ask"], app.tasks["total"]
    chord([ask.s(1), ask.s(2)], total.s("body")).delay()
    run_tasks(app)
    for index, seen in enumerate(vars(app)["seen"]):
        assert (seen["group_index"], seen["chord"]["task"], seen["chord"]["args"]) == (index, "total", ["body"])


def test_request_of_a_retry_equals_the_first_one(app: TaskQ) -> None:
    ask, total = app.tasks["ask"], app.tasks["total"]
    result = chain(ask.s(1, retries=2).set(link=total.s("linked"), ignore_result=True), total.s()).delay()
    run_tasks(app)
    first, second, third = vars(app)["seen"]
    assert first == second == third
    assert (first["ignore_result"], result.get(timeout=0)) == (True, [[1]])


def test_request_tells_an_applied_task_from_a_called_function(app: TaskQ) -> None:
    ask = app.tasks["ask"]
    result = ask.apply((1,))
    ask(2)
    in_place, called = vars(app)["seen"]
    assert (in_place["is_eager"], in_place["called_directly"], in_place["correlation_id"]) == (True, False, result.id)
    assert (called["is_eager"], called["called_directly"]) == (False, True)


def test_signature_from_request_keeps_options_and_what_follows(app: TaskQ) -> None:
    again, total = app.tasks["again"], app.tasks["total"]
    options: dict[str, Any] = {
        "time_limit": 60,
        "headers": {"tenant": "acme"},
        "queue": "celery",
        "ignore_result": False,
    }
    sig = again.s("a", times=1).set(**options, link=total.s("linked"), link_error=total.s("failed")).stamp(order=7)
    result = chain(sig, total.s("next")).delay()
    run_tasks(app)
    (made,) = vars(app)["seen"]
    own = made["sig"]
    assert result.parent
    assert (own.task, own.args, own.kwargs, own.id) == ("again", ("a",), {"times": 0}, result.parent.id)
    assert {name: own.options[name] for name in options} == options
    assert (own.options["stamped_headers"], own.options["order"]) == (["order"], 7)
    assert [each.args for each in own.options["link"]] == [("linked",)]
    assert [each.args for each in own.options["link_error"]] == [("failed",)]
    assert [each["args"] for each in own.options["chain"]] == [["next"]]


def test_signature_from_request_is_sent_with_the_id_of_the_task(app: TaskQ) -> None:
    sent: list[Any] = []

    @app.task(name="resend", bind=True)
    def resend(self: BoundTask, left: int) -> int:
        if left:
            sent.append(self.signature_from_request(args=(left - 1,), queue="other").delay())
        return left

    result = resend.delay(1)
    run_tasks(app)
    assert [each.id for each in sent] == [result.id]
    assert run_tasks(app, ["other"]) == 1


def test_signature_from_request_keeps_index_and_id_of_the_group(app: TaskQ) -> None:
    again = app.tasks["again"]
    result = group(again.s(times=1), again.s(times=1)).delay()
    run_tasks(app)
    made = [each["sig"] for each in vars(app)["seen"]]
    assert [each.options["group_index"] for each in made] == [0, 1]
    assert {each.options["group_id"] for each in made} == {result.id}


def test_callbacks_of_a_task_replaced_by_itself_run_once() -> None:
    app, heard = TaskQ("shop", broker="memory://", results="memory://"), []

    @app.task(name="again", bind=True)
    def again(self: Any, left: int) -> int:
        if left:
            raise self.replace(self.signature_from_request(args=(left - 1,)))
        return 7

    @app.task(name="hear")
    def hear(value: int, who: str) -> None:
        heard.append((who, value))

    result = again.apply_async((2,), link=[hear.s("a"), hear.s("b")])
    run_tasks(app)
    assert result.get(timeout=1) == 7
    assert sorted(heard) == [("a", 7), ("b", 7)]
    app.close()
