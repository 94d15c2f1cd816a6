"""Remote control: each method of Celery's ``app.control`` and of ours must make the same command."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import celery
import celery.app.control
import pytest

import taskq_cloud.celery
import taskq_cloud.celery.app.control
from taskq_cloud.celery.contrib.testing.worker import start_worker
from taskq_cloud.celery.worker.control import Panel, inspect_command
from tests.celery.utils.loggers import loggers_as_before

SIDES = (celery, taskq_cloud.celery)
Scenario = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    with loggers_as_before():
        yield


def _app(side: ModuleType, **settings: Any) -> Any:
    return side.Celery("control", set_as_current=False, broker="memory://", backend="cache+memory://", changes=settings)


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return "returned", call()
    except Exception as error:
        return "raised", type(error).__name__, str(error)


def _commands(side: ModuleType, scenario: Scenario, answers: Any = None) -> Any:
    """Return what a scenario hands to ``broadcast``, and its value."""
    app = _app(side)
    app.control.broadcast = Mock(return_value=answers)
    outcome = _outcome(lambda: scenario(app.control))
    return [(call.args, call.kwargs) for call in app.control.broadcast.call_args_list], outcome


CONTROL: tuple[Scenario, ...] = (
    lambda control: control.ping(),
    lambda control: control.ping(["a@b"], timeout=3, limit=1),
    lambda control: control.revoke("id"),
    lambda control: control.revoke(["a", "b"], destination=["x"], terminate=True, signal="KILL", reply=True, timeout=2),
    lambda control: control.revoke_by_stamped_headers({"a": "b"}),
    lambda control: control.revoke_by_stamped_headers({"a": ["b"]}, ["x"], terminate=True, signal="INT", reply=True),
    lambda control: control.terminate("id"),
    lambda control: control.terminate("id", ["x"], "KILL", reply=True),
    lambda control: control.rate_limit("task", "3/m", ["x"], reply=True),
    lambda control: control.time_limit("task", 1, 2),
    lambda control: control.time_limit("task", hard=2, destination=["x"], reply=True),
    lambda control: control.enable_events(),
    lambda control: control.disable_events(["x"], reply=True),
    lambda control: control.add_consumer("queue"),
    lambda control: control.add_consumer(
        "q", "ex", "topic", "key", {"durable": False, "queue": "other"}, ["x"], limit=1
    ),
    lambda control: control.cancel_consumer("queue", ["x"]),
    lambda control: control.autoscale(3, 1, ["x"]),
    lambda control: control.pool_grow(),
    lambda control: control.pool_grow(2, ["x"]),
    lambda control: control.pool_shrink(n=2),
    lambda control: control.pool_restart(),
    lambda control: control.pool_restart(["module"], True, len, ["x"], reply=True),
    lambda control: control.heartbeat(),
    lambda control: control.shutdown(["x"]),
    lambda control: control.election("id", "topic", "action"),
    lambda control: control.election("id", "topic", connection="connection"),
)


@pytest.mark.parametrize("number", range(len(CONTROL)))
def test_command_is_celerys(number: int) -> None:
    theirs, ours = (_commands(side, CONTROL[number]) for side in SIDES)
    assert ours == theirs
    assert theirs[0]


INSPECT: tuple[Scenario, ...] = (
    lambda ask: ask.active(),
    lambda ask: ask.active(safe=True),
    lambda ask: ask.active_queues(),
    lambda ask: ask.clock(),
    lambda ask: ask.conf(),
    lambda ask: ask.conf(with_defaults=True),
    lambda ask: ask.hello("node"),
    lambda ask: ask.hello("node", revoked=["a"]),
    lambda ask: ask.memdump(),
    lambda ask: ask.memdump(samples=3),
    lambda ask: ask.memsample(),
    lambda ask: ask.objgraph(),
    lambda ask: ask.objgraph("Task", n=3, max_depth=2),
    lambda ask: ask.ping(),
    lambda ask: (ask.ping(destination=["a"]), ask.destination, ask.ping()),
    lambda ask: ask.query_task("a"),
    lambda ask: ask.query_task("a", "b"),
    lambda ask: ask.query_task(["a", "b"]),
    lambda ask: ask.query_task(("a", "b")),
    lambda ask: ask.registered(),
    lambda ask: ask.registered("rate_limit", "max_retries"),
    lambda ask: ask.registered_tasks("rate_limit"),
    lambda ask: ask.report(),
    lambda ask: ask.reserved(safe=True),
    lambda ask: ask.revoked(),
    lambda ask: ask.scheduled(safe=False),
    lambda ask: ask.stats(),
    lambda ask: ask._request("other", x=1),
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"destination": "a@host"},
    {"destination": ["a@host"], "timeout": 3, "limit": 2, "callback": len, "connection": "connection"},
    {"pattern": "a@*"},
    {"pattern": "b@.*", "matcher": "pcre"},
)
ANSWERS: tuple[Any, ...] = (None, [], [{"a@host": 1}, {"b@host": 2}])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("number", range(len(INSPECT)))
def test_question_is_celerys(number: int, options: dict[str, Any]) -> None:
    for answers in ANSWERS:
        theirs, ours = (
            _commands(side, lambda control: INSPECT[number](control.inspect(**options)), answers) for side in SIDES
        )
        assert ours == theirs


@pytest.mark.parametrize(
    "answers", [None, [], [{"a": {"ok": {"1", "2"}}}], [{"a": {"ok": "text"}}]], ids=["none", "no", "ids", "text"]
)
def test_tasks_with_stamps_are_revoked_by_their_ids(answers: Any) -> None:
    made = [_commands(side, lambda control: control.revoke_by_stamped_headers({"a": 1}), answers) for side in SIDES]
    for commands, _ in made:
        for _, kwargs in commands:
            if "task_id" in kwargs["arguments"]:
                kwargs["arguments"]["task_id"].sort()
    assert made[1] == made[0]


@pytest.mark.parametrize(
    "answers",
    [[], [{"a": 1}], [{"a": 1}, {"b": 2}], [{"a": 1}, {"a": 2}], [{"a": 1, "b": 2}, {"a": 2}, {"b": 3}]],
    ids=str,
)
def test_flat_replies_are_celerys(answers: Any) -> None:
    seen = []
    for side in SIDES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            flat = side.app.control.flatten_reply(answers)
        seen.append((flat, [(type(each.message).__name__, str(each.message)) for each in caught]))
    assert seen[1] == seen[0]


@pytest.mark.parametrize("kind", ["Control", "Inspect"])
def test_signatures_are_celerys(kind: str) -> None:
    def signatures(side: ModuleType) -> dict[str, Any]:
        found = getattr(side.app.control, kind)
        return {
            name: [(each.name, each.kind, each.default) for each in inspect.signature(value).parameters.values()]
            for name, value in vars(found).items()
            if callable(value) and (not name.startswith("_") or name == "__init__") and not isinstance(value, type)
        }

    theirs, ours = (signatures(side) for side in SIDES)
    assert ours == theirs


def test_durable_and_exclusive_queue_is_refused() -> None:
    settings = {"control_queue_durable": True, "control_queue_exclusive": True}
    theirs, ours = (_outcome(lambda side=side: _app(side, **settings).control) for side in SIDES)  # type: ignore[misc]
    assert ours == theirs
    assert ours[0] == "raised"


@pytest.mark.parametrize("pattern", [None, "a*"])
@pytest.mark.parametrize("matcher", [None, "glob"])
def test_mailbox_gets_what_celerys_gets(pattern: str | None, matcher: str | None) -> None:
    calls = []
    for side in SIDES:
        control = _app(side).control
        control.mailbox = mailbox = Mock()
        control.broadcast("x", {"a": 1}, ["d"], "connection", True, 3, 2, len, "channel", pattern, matcher, b=2)
        calls.append((mailbox.call_args_list, mailbox.return_value._broadcast.call_args_list))
    assert calls[1] == calls[0]


def test_command_without_transport_says_what_to_do() -> None:
    control = _app(taskq_cloud.celery).control
    with pytest.raises(NotImplementedError, match=r"'shutdown' can't be sent.*SIGTERM"):
        control.shutdown()
    with pytest.raises(NotImplementedError, match="/healthz"):
        control.inspect().ping()
    with pytest.raises(NotImplementedError, match="use time limits"):
        control.terminate("id")
    with pytest.raises(NotImplementedError, match="by their ids"):
        control.revoke_by_stamped_headers({"a": "b"})


def test_revoked_task_has_a_record() -> None:
    app = _app(taskq_cloud.celery)
    assert app.control.revoke(["first", "second"]) is None
    assert [app.AsyncResult(each).state for each in ("first", "second", "third")] == ["REVOKED", "REVOKED", "PENDING"]


def test_destination_that_is_text_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        _app(taskq_cloud.celery).control.ping(destination="a@host")


def test_worker_of_this_process_answers() -> None:
    app = _app(taskq_cloud.celery)

    @app.task(name="control.add", rate_limit="10/s", shared=False)  # type: ignore[untyped-decorator, unused-ignore]
    def add(x: int, y: int) -> int:
        return x + y

    @inspect_command()
    def own_command(state: Any, x: int = 0) -> Any:
        return {"hostname": state.hostname, "x": x}

    try:
        with start_worker(app, hostname="me@here", perform_ping_check=False):
            ask, heard = app.control.inspect(timeout=1), list[Any]()
            assert app.control.ping() == [{"me@here": {"ok": "pong"}}]
            assert app.control.ping(["other@here"]) == []
            assert app.control.inspect(pattern="m*", matcher="glob").ping() == {"me@here": {"ok": "pong"}}
            assert app.control.inspect(pattern="x.*", matcher="pcre").ping() is None
            assert app.control.inspect(callback=heard.append).ping() == {"me@here": {"ok": "pong"}}
            assert heard == [{"me@here": {"ok": "pong"}}]
            assert ask.registered() == {"me@here": ["control.add [rate_limit=10/s]"]}
            assert ask.conf()["me@here"]["broker_url"].startswith("memory:")
            assert [queue["name"] for queue in ask.active_queues()["me@here"]] == ["celery"]
            assert "taskq_cloud" in ask.report()["me@here"]["ok"] or "software" in ask.report()["me@here"]["ok"]
            assert "pid" in ask.stats()["me@here"]
            assert ask.clock() == {"me@here": {"clock": app.clock.value}}
            assert ask._request("own_command", x=3) == {"me@here": {"hostname": "me@here", "x": 3}}
            assert "error" in ask._request("own_command", y=3)["me@here"]
            assert app.control.revoke("x", reply=True) == [{"me@here": {"ok": "tasks {'x'} flagged as revoked"}}]
            assert app.control.broadcast("ping") is None
            with pytest.raises(NotImplementedError, match="'pool_grow'"):
                app.control.pool_grow()
    finally:
        del Panel.data["own_command"], Panel.meta["own_command"]
    with pytest.raises(NotImplementedError):
        app.control.ping()
