"""Hooks of an application and of its tasks, through a broker and in place, in the test's own process."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import Hooks, TaskQ, chain, current_request, group
from taskq_cloud.core.model.message import Outgoing
from taskq_cloud.errors import Ignore, ImproperlyConfigured, Reject, Retry, SoftTimeLimitExceeded
from taskq_cloud.hooks import Call, Received, Run
from taskq_cloud.testing import run_tasks

span: ContextVar[str] = ContextVar("span", default="none")


class Recording(Hooks):
    """Records each call of a method about a run, as ``name.method`` and what the method was given."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        self.name = name
        self.calls = calls

    def before_run(self, run: Run) -> None:
        self.calls.append(f"{self.name}.before_run")

    def on_success(self, run: Run, value: Any) -> None:
        self.calls.append((f"{self.name}.on_success", value))

    def on_retry(self, run: Run, error: BaseException) -> None:
        self.calls.append((f"{self.name}.on_retry", error))

    def on_failure(self, run: Run, error: BaseException) -> None:
        self.calls.append((f"{self.name}.on_failure", error))

    def after_run(self, run: Run, state: str, result: Any) -> None:
        self.calls.append((f"{self.name}.after_run", state, result))


class Sending(Hooks):
    """Records the messages that were about to be sent, and the ones that were sent."""

    def __init__(self) -> None:
        self.before: list[Call] = []
        self.after: list[Call] = []

    def before_send(self, call: Call) -> None:
        self.before.append(call)
        call.headers["traceparent"] = f"00-{call.task}"

    def after_send(self, call: Call) -> None:
        self.after.append(call)


class Receiving(Hooks):
    """Records what becomes of messages."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def task_received(self, received: Received) -> None:
        self.calls.append(("received", received.task))

    def task_revoked(self, received: Received, reason: str) -> None:
        self.calls.append(("revoked", received.task, reason))

    def task_rejected(self, received: Received, reason: str) -> None:
        self.calls.append(("rejected", received.task, reason))

    def task_unknown(self, received: Received) -> None:
        self.calls.append(("unknown", received.task))


def make_app(*hooks: Hooks, **settings: Any) -> TaskQ:
    return TaskQ("tests", broker="memory://", results="memory://", hooks=hooks, **settings)


@pytest.fixture
def calls() -> list[Any]:
    return []


# -- runs


def test_hooks_are_called_outermost_first_before_and_reversed_after(calls: list[Any]) -> None:
    app = make_app(Recording("first", calls), Recording("second", calls))

    @app.task(hooks=[Recording("own", calls)])
    def add(x: int, y: int) -> int:
        calls.append("add")
        return x + y

    result = add.delay(1, 2)
    run_tasks(app)
    assert result.get() == 3
    assert calls == [
        *["first.before_run", "second.before_run", "own.before_run", "add"],
        *[("own.on_success", 3), ("second.on_success", 3), ("first.on_success", 3)],
        *[(f"{name}.after_run", "SUCCESS", 3) for name in ("own", "second", "first")],
    ]


def test_hooks_of_one_task_are_not_called_for_another(calls: list[Any]) -> None:
    app = make_app()

    @app.task(hooks=[Recording("own", calls)])
    def hooked() -> None: ...

    @app.task
    def plain() -> int:
        return 1

    result = plain.delay()
    run_tasks(app)
    assert result.get() == 1
    assert calls == []


def test_failure_gives_hooks_the_live_exception(calls: list[Any]) -> None:
    app, raised = make_app(Recording("hooks", calls)), ValueError("no such order")

    @app.task
    def fail() -> None:
        raise raised

    result = fail.delay()
    run_tasks(app)
    assert result.state == "FAILURE"
    assert calls == ["hooks.before_run", ("hooks.on_failure", raised), ("hooks.after_run", "FAILURE", raised)]


def test_retry_gives_hooks_its_cause_and_the_request_itself(calls: list[Any]) -> None:
    seen: list[Any] = []

    class Watching(Recording):
        def on_retry(self, run: Run, error: BaseException) -> None:
            seen.append((run.exception, error, run.request.retries))

    app, cause = make_app(Watching("hooks", calls)), OSError("busy")

    @app.task(max_retries=1, default_retry_delay=0)
    def again() -> None:
        raise Retry(exc=cause)

    again.delay()
    run_tasks(app)
    ((request, error, retries),) = seen
    assert isinstance(request, Retry)
    assert (error, retries) == (cause, 0)
    ends = [each for each in calls if each[0] == "hooks.after_run"]
    assert ends == [("hooks.after_run", "RETRY", cause), ("hooks.after_run", "FAILURE", cause)]


@pytest.mark.parametrize(
    ("raised", "state"), [(Ignore(), "IGNORED"), (Reject("no"), "REJECTED"), (Retry(when=60), "RETRY")]
)
def test_end_without_value_is_told_by_its_state(calls: list[Any], raised: Exception, state: str) -> None:
    app = make_app(Recording("hooks", calls))

    @app.task(name="ends")
    def ends() -> None:
        raise raised

    ends.delay()
    run_tasks(app)
    assert calls[-1] == ("hooks.after_run", state, raised)


def test_replaced_run_is_told_by_its_state(calls: list[Any]) -> None:
    app = make_app()

    @app.task
    def other() -> int:
        return 5

    @app.task(bind=True, hooks=[Recording("own", calls)])
    def first(self: Any) -> None:
        self.replace(other.s())

    result = first.delay()
    run_tasks(app)
    assert result.get() == 5
    assert calls[1][:2] == ("own.after_run", "REPLACED")


def test_value_that_is_no_json_is_a_failure_for_hooks(calls: list[Any]) -> None:
    app = make_app(Recording("hooks", calls))

    @app.task
    def unfit() -> object:
        return object()

    result = unfit.delay()
    run_tasks(app)
    assert result.state == "FAILURE"
    assert [each[0] for each in calls[1:]] == ["hooks.on_failure", "hooks.after_run"]


@pytest.mark.parametrize(
    "wrong", ["before_run", "on_success", "after_run", "before_send", "after_send", "task_received"]
)
def test_error_of_a_hook_is_logged_and_loses_nothing(
    wrong: str, calls: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Hooks):
        pass

    def fail(*_: Any) -> None:
        raise KeyError("a hook's own")

    hooks = Wrong()
    setattr(hooks, wrong, fail)
    app = make_app(hooks, Recording("other", calls))

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    result = add.delay(1, 2)
    run_tasks(app)
    assert result.get() == 3
    assert [each[0] for each in calls[1:]] == ["other.on_success", "other.after_run"]
    (record,) = [vars(each) for each in caplog.records if each.name == "taskq_cloud.hooks"]
    assert (record["levelno"], record["action"], record["task"]) == (logging.ERROR, "hook.failed", "add")
    assert record["hook"].endswith(f"Wrong.{wrong}")
    assert record["task_id"] == result.id


@pytest.mark.parametrize("raised", [Ignore(), Retry(when=60), Reject("closed")])
def test_before_run_ends_the_run_by_raising_what_a_task_could(calls: list[Any], raised: Exception) -> None:
    class Closed(Hooks):
        def before_run(self, run: Run) -> None:
            raise raised

    app = make_app(Recording("outer", calls), Closed(), Recording("inner", calls))

    @app.task
    def never() -> None:
        calls.append("never")

    never.delay()
    run_tasks(app)
    assert "never" not in calls
    assert "inner.before_run" not in calls, "a hook that has not begun is not told of the end"
    assert calls[-1][:2] == ("outer.after_run", {Ignore: "IGNORED", Retry: "RETRY", Reject: "REJECTED"}[type(raised)])


def test_soft_time_limit_that_passes_in_a_hook_before_the_run_is_the_task_s(calls: list[Any]) -> None:
    class Slow(Hooks):
        def before_run(self, run: Run) -> None:
            raise SoftTimeLimitExceeded

    app = make_app(Slow(), Recording("inner", calls))

    @app.task
    def never() -> None:
        calls.append("never")

    result = never.delay()
    run_tasks(app)
    assert isinstance(result.result, SoftTimeLimitExceeded)
    assert calls == []


def test_soft_time_limit_that_passes_in_a_hook_after_the_run_changes_nothing() -> None:
    class Slow(Hooks):
        def after_run(self, run: Run, state: str, result: Any) -> None:
            raise SoftTimeLimitExceeded

    app = make_app(Slow())

    @app.task
    def add() -> int:
        return 1

    result = add.delay()
    run_tasks(app)
    assert result.get() == 1


def test_function_can_be_wrapped_before_the_run() -> None:
    class Doubling(Hooks):
        def before_run(self, run: Run) -> None:
            inner = run.function
            run.function = lambda *args, **kwargs: 2 * inner(*args, **kwargs)

    app = make_app(Doubling())

    @app.task(hooks=[Doubling()])
    def add(x: int, y: int) -> int:
        return x + y

    result = add.delay(1, y=2)
    run_tasks(app)
    assert result.get() == 12


def test_wrapper_that_is_a_coroutine_function_does_not_make_the_task_one() -> None:
    class Wrapping(Hooks):
        def before_run(self, run: Run) -> None:
            inner = run.function

            async def wrapped() -> Any:
                return inner()

            run.function = wrapped

    app = make_app(Wrapping())

    @app.task
    def plain() -> int:
        return 1

    result = plain.delay()
    run_tasks(app)
    assert result.get() == 1
    assert not app.runner.is_async(plain.name)


class Tracing(Hooks):
    """Sets a context variable before the function, as tracing does, and reads it after."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def before_run(self, run: Run) -> None:
        span.set(f"span of {run.id}")

    def after_run(self, run: Run, state: str, result: Any) -> None:
        self.calls.append(span.get())


class AsyncTracing(Hooks):
    """Does the same in coroutine functions."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    async def before_run(self, run: Run) -> None:
        await asyncio.sleep(0)
        span.set(f"span of {run.id}")

    async def after_run(self, run: Run, state: str, result: Any) -> None:
        await asyncio.sleep(0)
        self.calls.append(span.get())


@pytest.mark.parametrize("kind", [Tracing, AsyncTracing])
@pytest.mark.parametrize("coroutine", [False, True])
@pytest.mark.parametrize("in_loop", [False, True])
def test_context_that_a_hook_sets_is_the_function_s(
    kind: Callable[[list[Any]], Hooks], coroutine: bool, in_loop: bool, calls: list[Any]
) -> None:
    app = make_app(kind(calls))

    @app.task(name="plain")
    def plain() -> str:
        return span.get()

    @app.task(name="waits")
    async def waits() -> str:
        await asyncio.sleep(0)
        return span.get()

    async def run_in_loop() -> str:
        return str((waits if coroutine else plain).apply(task_id="x").get())

    if in_loop:
        value = asyncio.run(run_in_loop())
    else:
        result = (waits if coroutine else plain).apply_async(task_id="x")
        run_tasks(app)
        value = str(result.get())
    assert value == "span of x"
    assert calls == ["span of x"]


def test_hooks_see_the_run_as_the_current_one() -> None:
    seen: list[Any] = []

    class Looking(Hooks):
        def before_run(self, run: Run) -> None:
            request = current_request()
            assert request is not None
            seen.append((request.id == run.id, run.task, list(run.args), run.kwargs, run.request.delivery_info))

        def after_run(self, run: Run, state: str, result: Any) -> None:
            assert run.outcome is not None
            seen.append(repr(run))

    app = make_app(Looking())

    @app.task(name="add", bind=True)
    def add(self: Any, x: int, y: int) -> int:
        return x + y

    result = add.delay(1, y=2)
    run_tasks(app)
    assert seen[0][:4] == (True, "add", [1], {"y": 2})
    assert seen[0][4]["routing_key"] == "celery"
    assert seen[1] == f"<Run of add[{result.id}]: SUCCESS>"


def test_run_in_place_has_its_hooks(calls: list[Any]) -> None:
    app = make_app(Recording("hooks", calls), Sending())

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert add.apply((1, 2)).get() == 3
    assert calls == ["hooks.before_run", ("hooks.on_success", 3), ("hooks.after_run", "SUCCESS", 3)]


def test_function_called_directly_has_none(calls: list[Any]) -> None:
    app = make_app(Recording("hooks", calls))

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert add(1, 2) == 3
    assert calls == []


def test_hooks_that_are_added_late_are_called(calls: list[Any]) -> None:
    app = make_app()

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert add.apply((1, 2)).get() == 3
    app.add_hooks(Recording("late", calls))
    app.add_hooks([Recording("own", calls)], task=add.name)
    assert add.apply((1, 2)).get() == 3
    assert calls[:2] == ["late.before_run", "own.before_run"]


def test_hooks_that_are_added_before_their_task_is_declared_are_called(calls: list[Any]) -> None:
    app, added = make_app(), Recording("added", calls)
    app.add_hooks(added, task="add")

    def add() -> int:
        return 1

    app.task(name="add", hooks=[Recording("old", calls)])(add)
    app.task(name="add", hooks=[Recording("own", calls), added])(add).apply()
    assert [each for each in calls if isinstance(each, str) and "before" in each] == [
        *["own.before_run", "added.before_run", "added.before_run"]
    ]


def test_hooks_for_a_task_that_is_not_declared_are_logged_when_tasks_run(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    app.add_hooks(Hooks(), task="ad")
    app.add_hooks(Hooks(), task="add")
    app.task(name="add")(lambda: None)
    app.runtime()
    assert [(vars(each)["action"], vars(each)["task"]) for each in caplog.records] == [("hook.task_unknown", "ad")]


def test_task_that_is_declared_again_has_the_hooks_of_its_last_declaration(calls: list[Any]) -> None:
    app = make_app()

    def add() -> int:
        return 1

    app.task(name="add", hooks=[Recording("old", calls)])(add)
    again = app.task(name="add", hooks=[Recording("new", calls)])(add)
    again.apply()
    assert calls[0] == "new.before_run"
    assert not [each for each in calls if "old" in each[0]]


def test_one_object_need_not_be_in_a_list(calls: list[Any]) -> None:
    app = TaskQ("tests", broker="memory://", results="memory://", hooks=Recording("all", calls))

    @app.task(hooks=Recording("own", calls))
    def add() -> int:
        return 1

    add.apply()
    assert calls[:2] == ["all.before_run", "own.before_run"]


@pytest.mark.parametrize("given", [[Recording], ["hooks"], [object()]])
def test_object_that_is_no_hooks_is_an_error(given: list[Any]) -> None:
    app = TaskQ("tests", broker="memory://")
    with pytest.raises(ImproperlyConfigured, match="add_hooks"):
        app.add_hooks(given)
    with pytest.raises(ImproperlyConfigured, match="hooks takes objects of subclasses of Hooks"):
        app.task(name="t", hooks=given)(lambda: None)
    assert "t" not in app.tasks


def test_coroutine_function_where_none_can_be_awaited_is_an_error() -> None:
    class Wrong(Hooks):
        async def before_send(self, call: Call) -> None: ...  # type: ignore[override]

    with pytest.raises(ImproperlyConfigured, match=r"Wrong\.before_send can't be a coroutine function"):
        make_app(Wrong())


# -- messages


def test_keyword_arguments_and_priority_that_a_hook_changes_are_sent() -> None:
    class Changing(Hooks):
        def before_send(self, call: Call) -> None:
            call.change(kwargs={**call.kwargs, "added": 1})
            call.change(priority=3)

    sending = Sending()
    app = TaskQ("changed", broker="memory://", results="memory://")
    app.add_hooks(Changing())
    app.add_hooks(sending)

    @app.task
    def shown(x: int, **kwargs: Any) -> list[Any]:
        return [x, kwargs]

    result = shown.delay(1, y=2)
    run_tasks(app)
    assert result.get(timeout=1) == [1, {"y": 2, "added": 1}]
    assert [each.message.priority for each in sending.after] == [3]


def test_header_that_a_hook_adds_reaches_the_task() -> None:
    sending = Sending()
    app = make_app(sending)

    @app.task(name="look", bind=True)
    def look(self: Any) -> Any:
        return dict(self.request.headers)

    result = look.apply_async(headers={"tenant": "a"}, queue="own")
    assert (sending.before[0].queue, sending.before[0].id, repr(sending.before[0])) == (
        "own",
        result.id,
        f"<Call of look[{result.id}] to own>",
    )
    assert [each.message_id is not None for each in sending.after] == [True]
    run_tasks(app, ["own"])
    assert result.get() == {"tenant": "a", "traceparent": "00-look"}


def test_options_of_the_call_are_shown_to_hooks() -> None:
    sending = Sending()
    app = make_app(sending)
    due = datetime.now(UTC) + timedelta(seconds=60)
    app.send_task("t", [1], {"x": 2}, eta=due, priority=3, MessageGroupId="g", task_id="id1", time_limit=4)
    (call,) = sending.after
    assert (list(call.args), call.kwargs) == ([1], {"x": 2})
    assert call.options == {"eta": due, "priority": 3, "MessageGroupId": "g", "task_id": "id1", "time_limit": 4}


@pytest.mark.parametrize("name", ["id", "taskq_call", 7])
def test_header_that_can_t_be_sent_is_left_out(name: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Hooks):
        def before_send(self, call: Call) -> None:
            call.headers["fine"] = 1
            call.headers[name] = "x"

    sending = Sending()
    app = make_app(Wrong(), sending)

    @app.task(name="look", bind=True)
    def look(self: Any) -> Any:
        return dict(self.request.headers)

    result = look.delay()
    run_tasks(app)
    assert result.get() == {"traceparent": "00-look"}
    assert [vars(each)["action"] for each in caplog.records if each.name == "taskq_cloud.hooks"] == ["hook.failed"]


def test_header_whose_value_can_t_be_encoded_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Hooks):
        def before_send(self, call: Call) -> None:
            call.headers["object"] = object()

    app = make_app(Wrong())
    app.send_task("t")
    assert "header 'object' is" in caplog.text


def test_own_headers_of_the_package_are_kept_from_hooks() -> None:
    class Clearing(Hooks):
        def before_send(self, call: Call) -> None:
            assert not [name for name in call.headers if name.startswith("taskq_")]
            call.headers.clear()

    sending = Sending()
    app = make_app(Clearing(), sending)
    app.send_task("t", task_id="mine")
    assert "taskq_call" in sending.after[0].message.headers


def test_messages_of_a_workflow_and_of_what_follows_have_their_hooks() -> None:
    sending = Sending()
    app = make_app(sending)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total")
    def total(values: list[int]) -> int:
        return sum(values)

    result = chain(add.s(1, 2), add.s(3), group(add.s(1), add.s(2)), total.s()).delay()
    assert [call.task for call in sending.after] == ["add"]
    run_tasks(app)
    assert result is not None
    assert result.get() == 15
    assert [call.task for call in sending.after] == ["add", "add", "add", "add", "total"]
    assert all(call.message.headers["traceparent"] for call in sending.after)


def test_retry_is_a_message_of_its_own_for_hooks() -> None:
    sending = Sending()
    app = make_app(sending)

    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def again(self: Any) -> None:
        raise self.retry()

    again.delay()
    run_tasks(app)
    assert [call.message.retries for call in sending.after] == [0, 1]


def test_message_that_the_broker_refuses_is_not_told_as_sent() -> None:
    sending = Sending()
    app = make_app(sending)
    with pytest.raises(Exception, match="bytes"):
        app.send_task("t", ["x" * 20_000_000])
    assert (len(sending.before), sending.after) == (1, [])


async def test_call_on_an_event_loop_has_its_hooks() -> None:
    sending = Sending()
    app = make_app(sending)
    await app.asend_task("t")
    assert [call.task for call in sending.after] == ["t"]
    await app.aclose()


# -- deliveries


def test_hooks_are_told_what_becomes_of_a_message() -> None:
    receiving = Receiving()
    app = make_app(receiving, task_max_receives=1)

    @app.task(name="fine")
    def fine() -> None: ...

    @app.task(name="closed")
    def closed() -> None:
        raise Reject("closed")

    fine.delay()
    run_tasks(app)
    fine.apply_async(expires=-1)
    run_tasks(app)
    fine.apply_async(eta=datetime.now(UTC) - timedelta(seconds=1)).revoke()
    run_tasks(app)
    closed.delay()
    run_tasks(app)
    app.send_task("nobody")
    run_tasks(app)
    reason = receiving.calls[-1][2]
    assert receiving.calls == [
        ("received", "fine"),
        *[("received", "fine"), ("revoked", "fine", "expired")],
        *[("received", "fine"), ("revoked", "fine", "revoked")],
        *[("received", "closed"), ("rejected", "closed", "Reject: closed")],
        *[("unknown", "nobody"), ("rejected", "nobody", reason)],
    ]
    assert reason.startswith("NotRegistered")


def test_message_that_can_t_be_read_is_told_as_rejected() -> None:
    receiving = Receiving()
    app = make_app(receiving)
    app.run(app.broker.send("celery", [Outgoing(body="no JSON")]))
    run_tasks(app)
    ((kind, task, reason),) = receiving.calls
    assert (kind, task) == ("rejected", "?")
    assert reason.startswith("DecodeError")


# -- the cost without hooks


def test_application_without_hooks_imports_none_of_their_modules() -> None:
    code = """
import sys
from taskq_cloud import TaskQ
from taskq_cloud.testing import run_tasks
app = TaskQ("shop", broker="memory://", results="memory://")
@app.task(name="add")
def add(a, b): return a + b
result = add.delay(1, 2)
run_tasks(app)
assert result.get() == 3
loaded = sorted(name for name in sys.modules if name.startswith("taskq_cloud") and "hook" in name)
assert loaded == ["taskq_cloud.core.execution.hooked_deliveries"], loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class CountingTable(dict[str, tuple[Hooks, ...]]):
    """A table of hooks that counts how often it is asked whether it is empty."""

    asked = 0

    def __bool__(self) -> bool:
        self.asked += 1
        return False


def test_empty_table_of_hooks_is_asked_once_for_each_step() -> None:
    app = make_app()
    table = app.hooks = CountingTable()

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="aadd")
    async def aadd(x: int, y: int) -> int:
        return x + y

    for task in (add, aadd):
        table.asked = 0
        task.delay(1, 2)
        assert table.asked == 2, "when the message is encoded, and when it was sent"
        run_tasks(app)
        assert table.asked == 4, "when the message was received, and when the function runs"
