"""Tests of ``TaskQ``: declared tasks, calls, results, eager calls and settings."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import (
    AsyncResult,
    BoundTask,
    Ignore,
    MaxRetriesExceededError,
    OperationalError,
    Reject,
    SendError,
    TaskQ,
    current_request,
)
from taskq_cloud import errors as taskq_errors
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.flows import Flow, retrying, run
from taskq_cloud.core.model.message import Outgoing, Refused, Sent
from taskq_cloud.core.model.outcome import Admission, Admitted, Invocation
from taskq_cloud.errors import AlreadyRegistered, EncodeError, ImproperlyConfigured, TaskRevokedError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a folder without .env and in an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("TASKQ_BROKER", "TASKQ_BROKER_URL", "TASKQ_RESULTS", "TASKQ_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://")
    yield app
    app.close()


def work(app: TaskQ, queue: str = "celery") -> int:
    """Process the messages that are in a queue now, as a worker does; return how many there were."""
    runtime = app.runtime(patience_seconds=0)

    def perform(step: Any) -> Any:
        match step:
            case Admission():
                return Admitted(os.getpid())
            case Invocation():
                return runtime.runner.run(step)
        return runtime.connections.perform(step)

    deliveries = app.run(app.broker.receive(queue, 100, 0, 30))
    for delivery in deliveries:
        settlement = run(retrying(runtime.pipeline.process(delivery)), perform)
        assert app.run(app.broker.settle([settlement])) == [None]
    return len(deliveries)


def sent(app: TaskQ, queue: str = "celery") -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in app.run(app.broker.receive(queue, 100, 0, 30))]


# -- declaring


def test_decorated_function_can_be_called_without_sending(app: TaskQ) -> None:
    @app.task
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    assert add(1, 2) == 3
    assert (add.name, add.__doc__, add.__name__) == (f"{__name__}.add", "Add.", "add")
    assert app.tasks[add.name] is add
    assert repr(add) == f"<@task: {__name__}.add>"
    assert sent(app) == []


def test_task_in_a_script_is_named_after_the_application(app: TaskQ) -> None:
    assert app.gen_task_name("add", "__main__") == "shop.add"
    assert app.gen_task_name("add", "proj.tasks") == "proj.tasks.add"
    assert TaskQ().gen_task_name("add", "__main__") == "__main__.add"


def test_second_function_with_the_name_of_a_task_is_refused(app: TaskQ) -> None:
    app.task(name="x")(lambda: 1)
    with pytest.raises(AlreadyRegistered, match="give one of the two its own name="):
        app.task(name="x")(lambda: 2)


def test_function_declared_twice_is_one_task(app: TaskQ) -> None:
    def add() -> None: ...

    assert app.task(add).name == app.task(add).name
    assert len(app.tasks) == 1


@pytest.mark.parametrize("wrong", [5, "name", functools.partial(print)])
def test_object_that_is_not_a_function_is_refused(app: TaskQ, wrong: Any) -> None:
    with pytest.raises(TypeError, match="decorates a function"):
        app.task(wrong)


def test_positional_and_unknown_options_are_refused(app: TaskQ) -> None:
    with pytest.raises(TypeError, match="by keyword only"):
        app.task(print, print)  # type: ignore[call-overload]
    with pytest.raises(ImproperlyConfigured, match="unknown option 'max_retry'"):
        app.task(max_retry=3)(lambda: None)  # type: ignore[call-overload]


# -- calling


@pytest.fixture
def add(app: TaskQ) -> Any:
    @app.task(name="add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    return add


def test_called_task_runs_and_returns_its_result(app: TaskQ, add: Any) -> None:
    result = add.delay(2, b=3)
    assert isinstance(result, AsyncResult)
    assert (result.state, result.ready()) == ("PENDING", False)
    assert work(app) == 1
    assert result.get(timeout=1) == 5
    assert (result.state, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
    assert result.date_done is not None
    assert datetime.now(UTC) - result.date_done < timedelta(minutes=1)
    assert result.children == []
    assert (result, hash(result)) == (app.AsyncResult(result.id), hash(app.AsyncResult(result.id)))
    assert add.AsyncResult(result.id).get() == 5


async def test_task_called_on_an_event_loop_returns_its_result(app: TaskQ, add: Any) -> None:
    result = await add.adelay(2, b=3)
    assert await result.astate() == "PENDING"
    waiting = asyncio.create_task(result.aget(timeout=10))
    await asyncio.to_thread(work, app)
    assert await waiting == 5
    assert (await result.aload()).ready
    await result.aforget()
    assert await result.astate() == "PENDING"
    assert len(await add.amap_async([(1,), (2,)])) == 2
    assert (await app.asend_task("add", [1])).id
    assert (await add.aapply_async([1], countdown=5)).id
    await app.aclose()


def test_arguments_that_do_not_fit_are_refused_when_the_task_is_called(app: TaskQ, add: Any) -> None:
    with pytest.raises(
        TypeError, match=r"task add\(a: 'int', b: 'int' = 1\) -> 'int': missing a required argument: 'a'"
    ):
        add.delay()
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'c'"):
        add.apply_async((1,), {"c": 1})
    with pytest.raises(TypeError, match="too many positional arguments"):
        add.map_async([(1,), (1, 2, 3)])
    assert sent(app) == [], "no call of a batch is sent if one of them is wrong"


def test_task_without_typing_accepts_any_arguments(app: TaskQ) -> None:
    @app.task(name="loose", typing=False)
    def loose(a: int) -> None: ...

    loose.apply_async((1, 2, 3))
    assert len(sent(app)) == 1


FOR_TYPE_CHECKERS = """
def declare(app):
    @app.task(name="typed", rate_limit="10/s", rate_key="{number}")
    def typed(number: Missing, *rest: Missing.part[1]) -> Missing:
        return number + len(rest)
    return typed
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="earlier versions evaluate annotations where they are written")
def test_annotations_that_only_type_checkers_can_evaluate_are_not_evaluated(app: TaskQ) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(FOR_TYPE_CHECKERS, "tasks.py", "exec", dont_inherit=True), namespace)
    typed = namespace["declare"](app)
    with pytest.raises(TypeError, match="missing a required argument: 'number'"):
        typed.delay()
    assert typed.apply((2, 3)).get() == 3


def test_arguments_of_a_bound_task_are_checked_without_self(app: TaskQ) -> None:
    @app.task(bind=True, name="bound")
    def bound(self: BoundTask, a: int) -> str:
        return f"{self.name} {a} {self.request.id}"

    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        bound.delay()  # type: ignore[call-arg]
    result = bound.delay(7)
    work(app)
    assert result.get(timeout=1) == f"bound 7 {result.id}"
    assert bound(8) == "bound 8 "


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count_down": 1}, "unknown option 'count_down' of the call; known: .*countdown"),
        ({"countdown": "5"}, "countdown must be a number of seconds or a timedelta, .*, not '5'"),
        ({"eta": 5}, "eta must be a datetime or a time in ISO 8601, not 5; for seconds, use countdown"),
        ({"expires": "soon"}, "expires must be a number of seconds .*, a timedelta or a datetime, not 'soon'"),
        ({"time_limit": "1m"}, "time_limit must be a number of seconds .*, not '1m'"),
    ],
)
def test_wrong_option_of_a_call_is_refused_by_name(add: Any, options: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"task add: {words}"):
        add.apply_async((1,), **options)


@pytest.mark.parametrize(("args", "kwargs"), [("text", {}), (5, {}), ((1,), [1])])
def test_arguments_other_than_a_list_and_a_mapping_are_refused(app: TaskQ, args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match="must be a"):
        app.send_task("any", args, kwargs)


def test_arguments_headers_and_serializers_that_cannot_be_sent_are_refused(app: TaskQ, add: Any) -> None:
    with pytest.raises(EncodeError, match="task add: its arguments are not serialisable as JSON: <object object"):
        add.delay(object())
    with pytest.raises(ImproperlyConfigured, match="header 'id' is one of the protocol's own"):
        add.apply_async((1,), headers={"id": "x"})
    with pytest.raises(ImproperlyConfigured, match="unknown serializer 'xml'"):
        add.apply_async((1,), serializer="xml")


def test_options_of_a_call_are_in_its_message(app: TaskQ, add: Any) -> None:
    due = datetime(2030, 1, 1, tzinfo=UTC)
    result = add.apply_async(
        (1,), task_id="my-id", queue="other", expires=due, time_limit=9, soft_time_limit=8, priority=3,
        headers={"tenant": "acme"}, shadow="nick", argsrepr="(secret)", kwargsrepr="{}", ignore_result=False,
    )  # fmt: skip
    (message,) = sent(app, "other")
    assert result.id == "my-id"
    headers = message["headers"]
    assert (headers["id"], headers["task"], headers["shadow"], headers["tenant"]) == ("my-id", "add", "nick", "acme")
    assert (headers["expires"], headers["timelimit"]) == (due.isoformat(), [9, 8])
    assert (headers["argsrepr"], headers["ignore_result"]) == ("(secret)", False)
    assert (message["properties"]["priority"], message["properties"]["delivery_info"]["routing_key"]) == (3, "other")


def test_countdown_becomes_a_delay_of_the_broker(app: TaskQ, add: Any) -> None:
    add.apply_async((1,), countdown=100)
    depth = app.run(app.broker.depth("celery"))
    assert depth
    assert (depth.waiting, depth.delayed) == (0, 1)


def test_undeclared_task_can_be_called_by_name(app: TaskQ) -> None:
    result = app.send_task("elsewhere.resize", ["a.png"], {"width": 5})
    (message,) = sent(app)
    assert (message["headers"]["task"], message["headers"]["id"]) == ("elsewhere.resize", result.id)


def test_tasks_are_routed_by_option_then_name_then_pattern() -> None:
    routes = {"shop.*": "shop", "shop.pay": {"queue": "money"}}
    app = TaskQ(broker="memory://", task_routes=routes, task_default_queue="rest")
    app.task(name="shop.own", queue="own")(lambda: None)
    app.task(name="shop.pay")(lambda: None)
    assert [app.route(name) for name in ("shop.own", "shop.pay", "shop.x", "y")] == ["own", "money", "shop", "rest"]
    assert app.queues() == ["money", "own", "rest"]


class Choosy(MemoryBroker):
    """A broker that refuses each message with the argument ``no``, as a service may refuse some messages of a batch."""

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        taken = [each for each in messages if '"no"' not in json.loads(each.body)["body"]]
        answers = iter((yield from super().send(queue, taken)))
        return [next(answers) if each in taken else Refused(OperationalError("not this one")) for each in messages]


def test_partly_refused_batch_names_its_failures_and_keeps_the_other_results(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(name="echo")
    def echo(text: str) -> str:
        return text

    monkeypatch.setattr(app, "broker", Choosy(), raising=False)
    with pytest.raises(SendError, match="2 of 4 calls of task echo to queue 'celery' were not accepted") as caught:
        echo.map_async([("a",), ("no",), ("b",), ("no",)])
    assert sorted(caught.value.failures) == [1, 3]
    assert "not this one" in str(caught.value.failures[1])
    assert [result is None for result in caught.value.results] == [False, True, False, True]
    work(app)
    assert [result.get(timeout=1) for result in caught.value.results if result] == ["a", "b"]

    with pytest.raises(OperationalError, match="not this one") as alone:
        echo.delay("no")
    assert not isinstance(alone.value, SendError)
    assert alone.value.__notes__[0].startswith("task echo[")


def test_batch_of_a_thousand_calls_runs_completely(app: TaskQ, add: Any) -> None:
    results = add.map_async((number,) for number in range(1000))
    assert len({result.id for result in results}) == 1000
    while work(app):
        pass
    assert [result.get(timeout=1) for result in results] == list(range(1, 1001))
    assert add.map_async([]) == []


@pytest.mark.parametrize("one", ["task_id", "MessageDeduplicationId"])
def test_batch_with_one_id_for_all_calls_is_refused(add: Any, one: str) -> None:
    with pytest.raises(TypeError, match=f"2 calls can't share one {one}"):
        add.map_async([(1,), (2,)], **{one: "x"})


def test_message_sent_by_a_task_names_its_parent_and_root(app: TaskQ, add: Any) -> None:
    @app.task(name="outer")
    def outer() -> str:
        request = current_request()
        assert request is not None
        return str(add.delay(1).id)

    result = outer.delay()
    work(app)
    (message,) = sent(app)
    assert message["headers"]["id"] == result.get(timeout=1)
    assert (message["headers"]["parent_id"], message["headers"]["root_id"]) == (result.id, result.id)
    assert current_request() is None


# -- results


def test_failure_of_a_task_is_raised_by_get(app: TaskQ) -> None:
    @app.task(name="fails")
    def fails() -> None:
        raise KeyError("lost", 1)

    result = fails.delay()
    work(app)
    with pytest.raises(KeyError) as caught:
        result.get(timeout=1)
    assert caught.value.args == ("lost", 1)
    returned = result.get(timeout=1, propagate=False)
    assert isinstance(returned, KeyError)
    assert result.failed()
    assert result.traceback is not None
    assert "in fails" in result.traceback
    assert isinstance(result.result, KeyError)


def test_get_raises_a_timeout_error_after_its_timeout(app: TaskQ) -> None:
    with pytest.raises(TimeoutError, match="task nobody-knows is PENDING after") as caught:
        app.AsyncResult("nobody-knows").get(timeout=0.05)
    assert isinstance(caught.value, taskq_errors.TimeoutError)


def test_get_returns_once_the_task_has_ended(app: TaskQ, add: Any) -> None:
    result = add.delay(1)
    thread = threading.Thread(target=work, args=(app,))
    thread.start()
    assert result.get(timeout=30) == 2
    thread.join()


def test_forgotten_result_is_pending(app: TaskQ, add: Any) -> None:
    result = add.delay(1)
    work(app)
    assert result.get(timeout=1) == 2
    result.forget()
    assert result.state == "PENDING"
    result.forget()


def test_ignored_result_is_not_stored_unless_the_call_asks_for_it(app: TaskQ) -> None:
    @app.task(name="quiet", ignore_result=True)
    def quiet() -> int:
        return 1

    result = quiet.delay()
    assert result.get() is None
    work(app)
    assert result.state == "PENDING"
    kept = quiet.apply_async(ignore_result=False)
    work(app)
    assert kept.get(timeout=1) == 1


def test_revoked_task_in_the_queue_does_not_run(app: TaskQ) -> None:
    ran = []
    app.task(name="late", track_started=True)(lambda: ran.append(1))
    result = app.tasks["late"].apply_async()
    assert result.revoke()
    assert not result.revoke(), "it has ended"
    work(app)
    assert ran == []
    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=1)


def test_task_that_has_ended_cannot_be_revoked(app: TaskQ, add: Any) -> None:
    result = add.delay(1)
    work(app)
    assert not result.revoke()
    assert result.get(timeout=1) == 2


async def test_task_can_be_revoked_on_an_event_loop(app: TaskQ) -> None:
    assert await app.AsyncResult("some-id").arevoke()
    assert await app.AsyncResult("some-id").astate() == "REVOKED"
    await app.aclose()


def test_get_inside_a_task_is_refused_unless_allowed(app: TaskQ, add: Any) -> None:
    @app.task(name="waits")
    def waits(**how: Any) -> str:
        try:
            add.AsyncResult("x").get(timeout=0.01, **how)
        except taskq_errors.TimeoutError:
            return "waited"
        return "got"

    result, allowed = waits.delay(), waits.delay(disable_sync_subtasks=False)
    work(app)
    with pytest.raises(RuntimeError, match=r"get\(\) inside a task"):
        result.get(timeout=1)
    assert allowed.get(timeout=1) == "waited"


def test_get_without_a_result_store_names_the_missing_setting(add: Any) -> None:
    app = TaskQ(broker="memory://", results="disabled://")
    with pytest.raises(ImproperlyConfigured, match="no result store is configured: set TASKQ_RESULTS"):
        app.AsyncResult("x").get(timeout=1)


# -- inside a task


def test_retried_task_runs_again_with_the_new_arguments(app: TaskQ) -> None:
    seen: list[tuple[int, int]] = []

    @app.task(bind=True, name="again")
    def again(self: BoundTask, number: int) -> int:
        seen.append((self.request.retries, number))
        if self.request.retries < 2:
            self.retry(args=[number + 1], countdown=0, exc=ValueError("not yet"))
        return number

    result = again.delay(1)
    work(app)
    assert result.state == "RETRY"
    assert isinstance(result.result, ValueError)
    while work(app):
        pass
    assert result.get(timeout=1) == 3
    assert seen == [(0, 1), (1, 2), (2, 3)]


def test_last_retry_raises_its_cause_or_an_error_of_its_own(app: TaskQ) -> None:
    @app.task(bind=True, name="with_cause", max_retries=0)
    def with_cause(self: BoundTask) -> None:
        self.retry(exc=ValueError("cause"))

    @app.task(bind=True, name="without", max_retries=0)
    def without(self: BoundTask) -> None:
        self.retry()

    results = [with_cause.delay(), without.delay()]
    work(app)
    with pytest.raises(ValueError, match="cause"):
        results[0].get(timeout=1)
    with pytest.raises(MaxRetriesExceededError, match=r"can't retry without\["):
        results[1].get(timeout=1)
    with pytest.raises(ValueError, match="cause"):
        with_cause()


def test_progress_is_stored_while_the_task_runs(app: TaskQ) -> None:
    states: list[Any] = []

    @app.task(bind=True, name="steps")
    def steps(self: BoundTask) -> str:
        self.update_state("PROGRESS", {"done": 1})
        state = app.AsyncResult(self.request.id).load()
        states.append((state.state, state.result))
        with pytest.raises(ValueError, match="a task ends by returning or raising"):
            self.update_state("SUCCESS", 1)
        return "end"

    result = steps.delay()
    work(app)
    assert states == [("PROGRESS", {"done": 1})]
    assert result.get(timeout=1) == "end"


def test_progress_of_a_coroutine_function_is_stored_while_it_runs(app: TaskQ) -> None:
    @app.task(bind=True, name="steps")
    async def steps(self: BoundTask) -> str:
        await self.aupdate_state("PROGRESS", 1)
        return await app.AsyncResult(self.request.id).astate()

    result = steps.delay()
    work(app)
    assert result.get(timeout=1) == "PROGRESS"


def test_request_of_a_bound_task_describes_its_call(app: TaskQ) -> None:
    @app.task(bind=True, name="asks", time_limit=9)
    def asks(self: BoundTask, /, value: int, **more: int) -> dict[str, Any]:
        request = self.request
        return {
            "args": request.args,
            "kwargs": request.kwargs,
            "retries": request.retries,
            "root_id": request.root_id,
            "parent_id": request.parent_id,
            "headers": request.headers,
            "hostname": request.hostname,
            "timelimit": request.timelimit,
            "info": request.delivery_info,
            "app": self.app is app,
        }

    result = asks.apply_async((1,), {"b": 2}, headers={"tenant": "acme"})
    work(app)
    got = result.get(timeout=1)
    assert (got["args"], got["kwargs"], got["retries"], got["app"]) == ([1], {"b": 2}, 0, True)
    assert (got["root_id"], got["parent_id"], got["headers"]) == (result.id, None, {"tenant": "acme"})
    assert got["timelimit"] == [9, None]
    assert got["hostname"].startswith("taskq@")
    assert (got["info"]["routing_key"], got["info"]["redelivered"]) == ("celery", False)


# -- eager calls


def test_applied_task_runs_at_once_without_a_message(app: TaskQ, add: Any) -> None:
    result = add.apply((1,), {"b": 5})
    assert (result.get(), result.state, result.ready()) == (6, "SUCCESS", True)
    assert sent(app) == []


def test_calls_with_always_eager_run_at_once_with_their_retries() -> None:
    app = TaskQ(broker="memory://", task_always_eager=True)
    calls: list[int] = []

    @app.task(bind=True, name="again", max_retries=2)
    def again(self: BoundTask, number: int) -> int:
        calls.append(self.request.retries)
        if self.request.retries < 2:
            self.retry(countdown=100)
        return number

    assert again.delay(7).get() == 7
    assert calls == [0, 1, 2]
    assert [result.get() for result in again.map_async([(1,), (2,)])] == [1, 2]
    assert sent(app) == []


async def test_calls_with_always_eager_on_an_event_loop_run_at_once() -> None:
    app = TaskQ(broker="memory://", task_always_eager=True)

    @app.task(name="waits")
    async def waits(number: int) -> int:
        await asyncio.sleep(0)
        return number

    assert await (await waits.adelay(7)).aget() == 7
    assert [await each.aget() for each in await waits.amap_async([(1,), (2,)])] == [1, 2]


def test_arguments_of_an_applied_task_go_through_json(app: TaskQ) -> None:
    app.task(name="kind")(lambda value: type(value).__name__)
    assert app.tasks["kind"].apply(((1, 2),)).get() == "list"
    with pytest.raises(EncodeError):
        app.tasks["kind"].apply((object(),))


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError("x"), "FAILURE"), (Ignore(), "IGNORED"), (Reject("no"), "REJECTED")],
    ids=["failure", "ignored", "rejected"],
)
def test_applied_task_has_the_state_that_its_error_means(app: TaskQ, error: Exception, state: str) -> None:
    @app.task(name="ends")
    def ends() -> None:
        raise error

    result = ends.apply()
    assert result.state == state
    if state == "FAILURE":
        with pytest.raises(ValueError, match="x"):
            result.get()


def test_eager_call_raises_the_error_if_errors_propagate() -> None:
    app = TaskQ(broker="memory://", task_always_eager=True, task_eager_propagates=True)

    @app.task(name="fails")
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails.delay()


# -- settings


def test_application_without_settings_uses_local_files(tmp_path: Path) -> None:
    app = TaskQ("shop")
    app.task(name="add")(lambda a: a + 1)
    assert (app.conf.broker, app.conf.results_url()) == ("sqlite:///.taskq/broker.db", "sqlite:///.taskq/results.db")
    assert not (tmp_path / ".taskq").exists(), "nothing is opened until it is needed"
    result = app.tasks["add"].delay(1)
    work(app)
    assert result.get(timeout=1) == 2
    assert {path.name for path in (tmp_path / ".taskq").glob("*.db")} == {"broker.db", "results.db"}
    app.close()


def test_keyword_overrides_environment_which_overrides_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TASKQ_TASK_DEFAULT_QUEUE=from-file\nTASKQ_TASK_TIME_LIMIT=7\nOTHER=1\n")
    assert TaskQ().conf.task_default_queue == "from-file"
    monkeypatch.setenv("TASKQ_TASK_DEFAULT_QUEUE", "from-environment")
    monkeypatch.setenv("TASKQ_TASK_ROUTES", '{"a": "b"}')
    monkeypatch.setenv("TASKQ_BROKER", "memory://")
    app = TaskQ()
    assert (app.conf.task_default_queue, app.conf.task_routes) == ("from-environment", {"a": "b"})
    assert (app.conf.task_time_limit, app.conf.broker, app.conf.results_url()) == (7, "memory://", "memory://")
    assert TaskQ(task_default_queue="from-keyword").conf.task_default_queue == "from-keyword"


@pytest.mark.parametrize("name", ["TASKQ_BROKER", "TASKQ_BROKER_URL"])
def test_broker_is_read_from_either_environment_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "memory://")
    assert TaskQ().conf.broker == "memory://"


def test_celery_names_of_settings_are_accepted_as_keywords() -> None:
    conf = TaskQ(broker_url="memory://", result_backend="disabled://").conf
    assert (conf.broker, conf.results) == ("memory://", "disabled://")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"no_such_setting": 1}, "unknown setting 'no_such_setting'; known: .*broker"),
        ({"task_time_limit": "long"}, "task_time_limit"),
        ({"task_time_limit": -1}, "task_time_limit"),
        ({"visibility_timeout": 0}, "visibility_timeout"),
        ({"task_max_receives": 0}, "task_max_receives"),
        ({"accept_content": 5}, "accept_content"),
    ],
)
def test_wrong_keyword_is_named_when_settings_are_read(given: dict[str, Any], words: str) -> None:
    app = TaskQ(**given)
    with pytest.raises(ImproperlyConfigured, match=words):
        _ = app.conf


def test_wrong_environment_variable_is_named_when_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_WORKER_CONCURRENCY", "many")
    with pytest.raises(
        ImproperlyConfigured, match=r"wrong setting \(keyword, TASKQ_\.\.\. or \.env\): .*worker_concurrency"
    ):
        _ = TaskQ().conf


@pytest.mark.parametrize("url", ["etcd://localhost", "nonsense", ""])
def test_url_of_an_unknown_broker_is_refused_with_the_known_schemes(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no broker serves '.*'; known schemes: .*sqlite://, sqs://"):
        _ = TaskQ(broker=url).broker


def test_result_expires_is_a_day_by_default_and_zero_keeps_results() -> None:
    def kept(**given: Any) -> float | None:
        return TaskQ(broker="memory://", **given).conf.policy(0).result_expires

    assert kept() == 86400
    assert kept(result_expires=timedelta(hours=1)) == 3600
    assert kept(result_expires=60) == 60
    assert (kept(result_expires=0), kept(result_expires=None)) == (None, None)


def test_policy_has_the_values_of_the_settings() -> None:
    conf = TaskQ(broker="memory://", task_time_limit=5, task_ignore_result=True, result_extended=True).conf
    policy = conf.policy(3)
    assert (policy.time_limit, policy.ignore_result, policy.result_extended) == (5, True, True)
    assert policy.patience_seconds == 3
    assert replace(policy, patience_seconds=0) == conf.policy(0)
