"""Tasks that a program runs by ``app.trace``: each scenario has the same end with Celery and with ours."""

import importlib
import logging
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import celery
import pytest

import taskq_cloud.celery

SIDES = (celery, taskq_cloud.celery)


class Side:
    """An application of one library, whose tasks note what happens to them."""

    def __init__(self, package: ModuleType) -> None:
        self.package = package
        name = package.__name__
        self.trace = importlib.import_module(f"{name}.app.trace")
        self.exceptions = importlib.import_module(f"{name}.exceptions")
        self.signals = importlib.import_module(f"{name}.signals")
        self.app = package.Celery("trace", set_as_current=False, broker="memory://", backend="cache+memory://")
        self.noted: list[Any] = []
        self.kept: list[Any] = []

    def listen(self) -> None:
        for name in ("prerun", "postrun", "success", "failure", "retry", "internal_error"):
            self._listen(name)

    def _listen(self, name: str) -> None:
        def receive(sender: Any = None, **fields: Any) -> None:
            shown = {key: shown_of(fields[key]) for key in sorted(fields) if key in _SHOWN}
            self.noted.append((name, sender.name, shown))

        self.kept.append(receive)
        getattr(self.signals, f"task_{name}").connect(receive)

    def task(self, function: Callable[..., Any], **options: Any) -> Any:
        side = self

        class Base(self.package.Task):  # type: ignore[name-defined,misc]
            abstract = True

            def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
                side.noted.append(("before_start", task_id, args, kwargs))

            def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
                side.noted.append(("on_success", retval, task_id, args, kwargs))

            def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                side.noted.append(("on_failure", repr(exc), task_id, args, kwargs, type(einfo).__name__))

            def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                side.noted.append(("on_retry", repr(exc), task_id, args, kwargs, type(einfo).__name__))

            def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                side.noted.append(("after_return", status, repr(retval), task_id, args, kwargs, einfo))

        function.__name__ = "function"  # a lambda's is no name
        options.setdefault("base", Base)
        options.setdefault("name", "trace.task")
        task = self.app.task(bind=True, shared=False, **options)(function)
        self.app.finalize()
        return task

    def run(self, task: Any, *args: Any, request: Any = None, kwargs: Any = None, **opts: Any) -> Any:
        backend = task.backend
        for name in ("mark_as_done", "mark_as_failure", "mark_as_retry", "store_result", "process_cleanup"):
            self._spy(backend, name)
        given = {} if kwargs is None else kwargs
        fields = {"id": "the-id", "delivery_info": {}, **(request or {})}
        result, ended, runtime, text = self.trace.trace_task(task, "the-id", args, given, fields, app=self.app, **opts)
        shown = result
        if type(result).__name__ == "ExceptionInfo":
            error = result.exception
            shown = "ExceptionInfo", shown_of(error.exc if type(error).__name__ == "ExceptionWithTraceback" else error)
        about = None if ended is None else (ended.state, shown_of(ended.retval))
        after = self.app.current_task, bool(task.request_stack.top)
        return shown, about, type(runtime).__name__, text, self.noted, after

    def _spy(self, backend: Any, name: str) -> None:
        real = getattr(backend, name)

        def note(*args: Any, **kwargs: Any) -> Any:
            state = args[2] if name == "store_result" and len(args) > 2 else None
            self.noted.append((name, repr(args[1]) if len(args) > 1 and state != "STARTED" else None, state))
            return real(*args, **kwargs)

        setattr(backend, name, note)


_SHOWN = ("task_id", "args", "kwargs", "retval", "state", "result", "exception", "reason")


def shown_of(value: Any) -> Any:
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else value


def _add(side: Side) -> Any:
    return side.run(side.task(lambda self, x, y: x + y), 1, kwargs={"y": 2})


def _request_is_seen(side: Side) -> Any:
    def function(self: Any, x: int) -> Any:
        request = self.request
        return [request.id, list(request.args), request.called_directly, request.retries, side.app.current_task.name]

    return side.run(side.task(function), 1, request={"retries": 2})


def _failure(side: Side) -> Any:
    def function(self: Any) -> None:
        raise KeyError("missing")

    return side.run(side.task(function))


def _expected_failure(side: Side) -> Any:
    def function(self: Any) -> None:
        raise KeyError("missing")

    return side.run(side.task(function, throws=(KeyError,)))


def _failure_with_ignored_result(side: Side) -> Any:
    def function(self: Any) -> None:
        raise KeyError("missing")

    return side.run(side.task(function, ignore_result=True))


def _stored_failure_with_ignored_result(side: Side) -> Any:
    def function(self: Any) -> None:
        raise KeyError("missing")

    return side.run(side.task(function, ignore_result=True, store_errors_even_if_ignored=True))


def _success_with_ignored_result(side: Side) -> Any:
    return side.run(side.task(lambda self: 1, ignore_result=True, track_started=True))


def _started(side: Side) -> Any:
    return side.run(side.task(lambda self: 1, track_started=True))


def _ignored(side: Side) -> Any:
    def function(self: Any) -> None:
        raise side.exceptions.Ignore("why")

    return side.run(side.task(function))


def _rejected(side: Side) -> Any:
    def function(self: Any) -> None:
        raise side.exceptions.Reject("why", requeue=True)

    return side.run(side.task(function))


def _retried(side: Side) -> Any:
    def function(self: Any) -> None:
        raise side.exceptions.Retry("again", KeyError("x"), when=3)

    return side.run(side.task(function))


def _eager(side: Side) -> Any:
    return side.run(side.task(lambda self: 3, track_started=True), eager=True)


def _eager_that_is_stored(side: Side) -> Any:
    return side.run(side.task(lambda self: 3, store_eager_result=True), eager=True)


def _eager_failure(side: Side) -> Any:
    def function(self: Any) -> None:
        raise KeyError("missing")

    return side.run(side.task(function), eager=True)


def _propagated(side: Side) -> Any:
    def function(self: Any) -> None:
        raise KeyError("missing")

    with pytest.warns(RuntimeWarning, match="outside body"):
        return side.run(side.task(function), propagate=True)


def _wrong_arguments(side: Side) -> Any:
    with pytest.warns(RuntimeWarning, match="outside body"):
        return side.run(side.task(lambda self: 3), kwargs=["no mapping"])


def _failing_handlers(side: Side) -> Any:
    class Base(side.package.Task):  # type: ignore[name-defined,misc]
        abstract = True

        def on_success(self, *args: Any) -> None:
            raise ValueError("on_success")

        def after_return(self, *args: Any) -> None:
            raise ValueError("after_return")

    return side.run(side.task(lambda self: 3, base=Base))


def _own_call(side: Side) -> Any:
    class Base(side.package.Task):  # type: ignore[name-defined,misc]
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            side.noted.append("called")
            return self.run(*args, **kwargs)

    return side.run(side.task(lambda self, x: x, base=Base), 5)


def _failing_cleanup(side: Side) -> Any:
    task = side.task(lambda self: 3)
    task.backend.process_cleanup = Mock(side_effect=ValueError("cleanup"))
    return side.run(task)


def _broken_store(side: Side) -> Any:
    task = side.task(lambda self: 3)
    task.backend.mark_as_done = Mock(side_effect=ValueError("store"))
    with pytest.warns(RuntimeWarning, match="outside body"):
        return side.run(task)


def _followers(side: Side) -> Any:
    task = side.task(lambda self, *args: 3)
    sent: list[Any] = []
    side.app.send_task = lambda name, args, kwargs, **options: sent.append(
        (name, list(args), {key: options.get(key) for key in ("parent_id", "root_id", "priority")})
    )
    request = {
        "callbacks": [task.s(1), task.s(2)],
        "chain": [task.si(4), task.s(5)],
        "root_id": "root",
        "delivery_info": {"priority": 3},
    }
    side.app.conf.task_inherit_parent_priority = True
    return side.run(task, request=request), sorted(sent, key=str)


def _customised(side: Side) -> Any:
    task = side.task(lambda self: 3)
    plain = side.task(lambda self: 3, base=side.package.Task, name="plain")
    names = ("on_success", "after_return", "__call__", "on_failure", "apply_async")
    custom = side.trace.task_has_custom
    return [bool(custom(each, name)) for each in (task, plain) for name in names]


def _message(side: Side) -> Any:
    side.task(lambda self, x, y: x * y)
    read = side.trace.trace_task_ret(
        "trace.task", "i", {}, b'[[2, 3], {}, {"chord": null}]', "application/json", "utf-8", app=side.app
    )
    plain = side.trace.trace_task_ret("trace.task", "i", {}, ((2,), {"y": 4}, {}), None, None, app=side.app)
    return read[:2], plain[:2]


def _failed_message(side: Side) -> Any:
    side.task(lambda self, x: x / 0)
    kind, info, runtime = side.trace.trace_task_ret(
        "trace.task", "i", {"id": "i"}, ((2,), {}, {}), None, None, app=side.app
    )
    return kind, type(info).__name__, str(info.exception).splitlines()[-1], runtime


SCENARIOS = (
    *(_add, _request_is_seen, _failure, _expected_failure, _failure_with_ignored_result),
    *(_stored_failure_with_ignored_result, _success_with_ignored_result, _started, _ignored, _rejected, _retried),
    *(_eager, _eager_that_is_stored, _eager_failure, _propagated, _wrong_arguments, _failing_handlers, _own_call),
    *(_failing_cleanup, _broken_store, _followers, _customised, _message, _failed_message),
)


def _outcome(scenario: Callable[[Side], Any], package: ModuleType, caplog: pytest.LogCaptureFixture) -> Any:
    side = Side(package)
    side.listen()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        try:
            ended: Any = "returned", scenario(side)
        except Exception as error:
            ended = "raised", type(error).__name__, str(error), side.noted
    lines = [
        (record.levelname, record.getMessage() if "handler" in record.msg else record.msg, bool(record.exc_info))
        for record in caplog.records
        if record.name.endswith("celery.app.trace")
    ]
    return ended, lines


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_traced_task_ends_as_with_celery(scenario: Callable[[Side], Any], caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        theirs, ours = (_outcome(scenario, package, caplog) for package in SIDES)
    assert ours == theirs


def test_message_without_preparation_is_refused() -> None:
    for package in SIDES:
        with pytest.raises(RuntimeError, match="setup_worker_optimizations"):
            Side(package).trace.fast_trace_task("n", "i", {}, ((), {}, {}), None, None)
