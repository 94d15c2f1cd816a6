"""``Task.retry`` in all its forms, and automatic retries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

from tests.celery.scenarios.library import Library


class _CustomError(Exception):
    pass


def _pushed(lib: Library, *, request: dict[str, Any] | None = None, options: Any = None, **given: Any) -> Any:
    """Call ``retry`` in a request that was pushed by hand, and show the exception and the next call."""
    app = lib.app()

    @app.task(bind=True, shared=False, name="proj.task", **(options or {}))
    def task(self, *args, **kwargs):
        pass

    task.push_request(
        **{"called_directly": False, "id": "an-id", "args": (1,), "kwargs": {"k": 2}, "retries": 1, **(request or {})}
    )
    try:
        returned = task.retry(**given)
        return "returned", _shown(returned)
    except Exception as error:
        return "raised", _shown(error)
    finally:
        task.pop_request()


def _shown(error: Any) -> Any:
    if type(error).__name__ != "Retry":
        return type(error).__name__, str(error), getattr(error, "task_args", None), getattr(error, "task_kwargs", None)
    sig = error.sig
    options = {name: value for name, value in sorted(sig.options.items()) if value is not None} if sig else None
    return (
        str(error),
        repr(error.exc),
        error.when,
        error.is_eager,
        error.humanize(),
        error.message,
        sig and (sig.task, sig.args, sig.kwargs, options, sig.immutable, sig.subtask_type),
    )


def pushed_request(lib: Library) -> Any:
    return _pushed(lib)


def pushed_request_with_countdown(lib: Library) -> Any:
    return _pushed(lib, countdown=3), _pushed(lib, countdown=0)


def pushed_request_with_eta(lib: Library) -> Any:
    return _pushed(lib, eta=datetime(2030, 1, 2, 3, 4, 5)), _pushed(lib, eta=datetime(2030, 1, 2), countdown=3)


def pushed_request_with_exception(lib: Library) -> Any:
    return _pushed(lib, exc=KeyError("x")), _pushed(lib, exc=KeyError), _pushed(lib, exc=_CustomError("a", 1))


def pushed_request_without_throwing(lib: Library) -> Any:
    return _pushed(lib, throw=False), _pushed(lib, throw=False, exc=KeyError("x"), countdown=1)


def pushed_request_with_other_arguments(lib: Library) -> Any:
    return _pushed(lib, args=(7, 8)), _pushed(lib, kwargs={"z": 1}), _pushed(lib, args=[], kwargs={})


def pushed_request_beyond_limit(lib: Library) -> Any:
    full = {"retries": 3}
    return (
        _pushed(lib, request=full),
        _pushed(lib, request=full, exc=KeyError("x")),
        _pushed(lib, request=full, exc=KeyError),
        _pushed(lib, request=full, max_retries=5),
        _pushed(lib, request=full, max_retries=2),
        _pushed(lib, request=full, throw=False),
        _pushed(lib, request=full, options={"max_retries": None}),
        _pushed(lib, request={"retries": 300}, options={"max_retries": None}),
        _pushed(lib, request={"retries": 0}, options={"max_retries": 0}),
    )


def pushed_request_with_options(lib: Library) -> Any:
    return _pushed(lib, queue="other", priority=3, headers={"a": 1}, shadow="s", custom=4)


def pushed_request_with_place_in_workflow(lib: Library) -> Any:
    place = {
        "chord": {"task": "t", "args": [], "kwargs": {}, "options": {}},
        "group": "g",
        "group_index": 3,
        "callbacks": [{"task": "cb"}],
        "errbacks": [{"task": "eb"}],
        "chain": [{"task": "c"}],
        "root_id": "r",
        "parent_id": "p",
        "reply_to": "rt",
        "shadow": "sh",
        "origin": "me",
        "replaced_task_nesting": 2,
        "headers": {"custom": 1, "x-death": 2},
        "timelimit": (30, 20),
        "expires": "2030-01-01T00:00:00",
        "ignore_result": True,
        "stamped_headers": ["st"],
        "stamps": {"st": [1], "other": 2},
    }
    return _pushed(lib, request=place)


def pushed_request_with_delivery_info(lib: Library) -> Any:
    return [
        _pushed(lib, request={"delivery_info": info})
        for info in (
            None,
            {},
            {"exchange": "", "routing_key": "q", "priority": 5},
            {"exchange": None, "routing_key": None, "priority": None, "is_eager": True},
            {"exchange": "", "routing_key": "q", "priority": 0},
        )
    ]


def eager_request(lib: Library) -> Any:
    return _pushed(lib, request={"is_eager": True}), _pushed(lib, request={"is_eager": True}, throw=False)


def called_as_function(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self, exc=None, handled=None):
        if handled is None:
            raise self.retry(exc=exc)
        try:
            raise handled
        except Exception:
            raise self.retry(exc=exc) from None

    def cause(*args: Any) -> Any:
        try:
            task(*args)
        except Exception as error:
            return type(error).__name__, str(error), repr(error.__cause__)

    return (
        cause(),
        cause(KeyError("x")),
        cause(KeyError),
        cause(None, ValueError("y")),
        cause(KeyError("x"), ValueError("y")),
    )


def sending_fails(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self):
        pass

    task.push_request(called_directly=False, id="an-id", args=(), kwargs={}, retries=0)
    sig = Mock(name="signature")
    sig.apply_async.side_effect = ConnectionError("down")
    task.signature_from_request = Mock(return_value=sig)
    try:
        return lib.raised(lambda: task.retry(countdown=1), text=False), sig.apply_async.call_args
    finally:
        task.pop_request()


def signature_of_retry_is_sent(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False, max_retries=4)
    def task(self, *args):
        pass

    task.push_request(called_directly=False, id="an-id", args=(1, 2), kwargs={"x": 1}, retries=2)
    task.signature_from_request = Mock(name="signature_from_request")
    try:
        lib.raised(lambda: task.retry(args=(3,), kwargs={"y": 2}, countdown=1, priority=3))
    finally:
        request = task.pop_request()
    call = task.signature_from_request.call_args
    given = [each.id if each is request else each for each in call.args]
    return [getattr(each, "id", each) for each in given], call.kwargs


def in_place_until_success(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False, default_retry_delay=1)
    def task(self, times):
        request = self.request
        seen.append((request.retries, request.id == "tid", request.is_eager, request.called_directly, request.args))
        if request.retries < times:
            raise self.retry(exc=KeyError("x"), countdown=0)
        return request.retries

    result = task.apply((2,), task_id="tid")
    return result.state, result.result, seen, task.request.retries


def in_place_until_exhausted(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False, max_retries=2)
    def task(self, exc):
        seen.append(self.request.retries)
        raise self.retry(exc=exc)

    def shown(result: Any) -> Any:
        return result.state, repr(result.result), result.id, getattr(result.result, "task_args", None)

    return shown(task.apply((KeyError("x"),), task_id="a")), shown(task.apply((None,), task_id="b")), seen


def in_place_with_other_arguments(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False)
    def task(self, *args, **kwargs):
        seen.append((self.request.args, args, kwargs, self.request.kwargs))
        if self.request.retries < 2:
            self.retry(args=(*args, self.request.retries), kwargs={**kwargs, f"k{self.request.retries}": 1})
        return args

    return task.apply((0,)).get(), seen


def in_place_without_throwing(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False)
    def task(self):
        seen.append(self.request.retries)
        if self.request.retries < 1:
            return self.retry(countdown=0, throw=False)
        return "done"

    result = task.apply()
    return result.state, repr(result.result), seen


def in_place_with_limit_of_call(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False, max_retries=1)
    def task(self):
        seen.append(self.request.retries)
        raise self.retry(max_retries=3)

    return task.apply(task_id="t").state, seen


def in_place_with_unlimited_retries(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False, max_retries=None)
    def task(self):
        seen.append(self.request.retries)
        if len(seen) < 10:
            raise self.retry()
        return "done"

    return task.apply().get(), seen


def in_place_from_a_number_of_retries(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    @app.task(bind=True, shared=False, max_retries=3)
    def task(self):
        seen.append(self.request.retries)
        raise self.retry()

    return task.apply(retries=2).state, seen


def in_place_that_throws(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False, max_retries=1)
    def task(self, exc):
        raise self.retry(exc=exc)

    return lib.raised(lambda: task.apply((KeyError("x"),), throw=True)), lib.raised(
        lambda: task.apply((None,), task_id="t", throw=True)
    )


def retry_of_handled_exception(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False, max_retries=1)
    def task(self):
        try:
            raise KeyError("handled")
        except KeyError:
            raise self.retry()

    result = task.apply(task_id="t")
    return result.state, repr(result.result)


def retry_of_raised_exception(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    class Base(app.Task):
        def on_retry(self, exc, task_id, args, kwargs, einfo):
            seen.append(("retry", repr(exc), task_id, args, kwargs, type(einfo).__name__))

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            seen.append(("failure", repr(exc), task_id, args, kwargs, repr(einfo.type)))

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            seen.append(("after", status, repr(retval)))

    @app.task(bind=True, shared=False, max_retries=1, base=Base)
    def task(self, x):
        try:
            raise KeyError(x)
        except KeyError as error:
            raise self.retry(exc=error)

    task.apply((1,), task_id="t")
    return seen


def limit_set_on_the_instance(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self):
        raise self.retry()

    task.max_retries = 1
    seen = task.apply(task_id="t").state
    return seen, task.max_retries


def _automatic(lib: Library, error: Any, **options: Any) -> Any:
    app = lib.app()
    runs = []

    @app.task(bind=True, shared=False, name="proj.auto", **options)
    def task(self, *args):
        runs.append(self.request.retries)
        raise error

    result = task.apply(task_id="t")
    return result.state, repr(result.result), len(runs)


def automatic_for_exceptions(lib: Library) -> Any:
    return (
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,)),
        _automatic(lib, ValueError("x"), autoretry_for=(KeyError,)),
        _automatic(lib, KeyError("x"), autoretry_for=(LookupError,)),
        _automatic(lib, KeyError("x")),
        _automatic(lib, KeyError("x"), autoretry_for=()),
    )


def automatic_but_for_exceptions(lib: Library) -> Any:
    return (
        _automatic(lib, KeyError("x"), autoretry_for=(LookupError,), dont_autoretry_for=(KeyError,)),
        _automatic(lib, IndexError("x"), autoretry_for=(LookupError,), dont_autoretry_for=(KeyError,)),
    )


def automatic_with_arguments_of_retry(lib: Library) -> Any:
    return (
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), retry_kwargs={"max_retries": 1}),
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), retry_kwargs={"max_retries": 5, "countdown": 0}),
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), max_retries=2),
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), max_retries=0),
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), retry_kwargs={"max_retries": 0}),
    )


def automatic_with_backoff(lib: Library) -> Any:
    return (
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), retry_backoff=True),
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), retry_backoff=2, retry_jitter=False),
        _automatic(lib, KeyError("x"), autoretry_for=(KeyError,), retry_backoff=True, retry_backoff_max=1),
    )


def automatic_leaves_retry_and_ignore_alone(lib: Library) -> Any:
    exceptions = lib.module("exceptions")
    return (
        _automatic(lib, exceptions.Ignore(), autoretry_for=(Exception,)),
        _automatic(lib, exceptions.Reject("r"), autoretry_for=(Exception,)),
    )


def automatic_countdown(lib: Library) -> Any:
    def countdowns(**options: Any) -> Any:
        app = lib.app()

        @app.task(bind=True, shared=False, name="proj.auto", autoretry_for=(KeyError,), **options)
        def task(self):
            raise KeyError("x")

        found = []
        for retries in range(4):
            task.push_request(called_directly=False, id="i", args=(), kwargs={}, retries=retries)
            try:
                task.run()
            except Exception as error:
                found.append((type(error).__name__, getattr(error, "when", None), repr(getattr(error, "exc", None))))
            finally:
                task.pop_request()
        return found

    return (
        countdowns(),
        countdowns(retry_backoff=True, retry_jitter=False),
        countdowns(retry_backoff=3, retry_jitter=False),
        countdowns(retry_backoff=3, retry_jitter=False, retry_backoff_max=5),
        countdowns(retry_kwargs={"countdown": 7}),
        countdowns(retry_kwargs={"countdown": 7}, retry_backoff=True, retry_jitter=False),
        countdowns(default_retry_delay=9),
        countdowns(max_retries=1, retry_kwargs={"max_retries": 2}),
    )


def automatic_attributes(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, autoretry_for=(KeyError,), retry_kwargs={"max_retries": 2}, retry_backoff=True)
    def task():
        return 1

    return task.autoretry_for, task.retry_kwargs, task.retry_backoff, hasattr(task, "_orig_run"), task()


def automatic_of_class(lib: Library) -> Any:
    app = lib.app()
    runs = []

    class Flaky(app.Task):
        name = "flaky"
        autoretry_for = (KeyError,)
        retry_kwargs = {"max_retries": 2, "countdown": 0}

        def run(self):
            runs.append(self.request.retries)
            raise KeyError("x")

    task = app.register_task(Flaky())
    return task.apply().state, runs


def automatic_of_base_class(lib: Library) -> Any:
    app = lib.app()
    runs = []

    class Base(app.Task):
        autoretry_for = (KeyError,)
        max_retries = 1
        retry_backoff = True

    @app.task(base=Base, shared=False)
    def task():
        runs.append(1)
        raise KeyError("x")

    return task.apply().state, len(runs), task.max_retries


def automatic_when_called_as_function(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, autoretry_for=(KeyError,))
    def task():
        raise KeyError("x")

    return lib.raised(task)


def arguments_of_exhausted_retries(lib: Library) -> Any:
    error = lib.module("exceptions").MaxRetriesExceededError
    app = lib.app()

    @app.task(bind=True, shared=False, max_retries=0)
    def task(self, *args, **kwargs):
        raise self.retry()

    results = task.apply().result, task.apply((1,), {"a": 2}).result, error(), error(task_args=(), task_kwargs={})
    return [(each.task_args, each.task_kwargs) for each in results]


def retry_exceptions(lib: Library) -> Any:
    retry = lib.module("exceptions").Retry
    return [
        (str(each), each.humanize(), each.exc, each.excs, each.when, each.is_eager)
        for each in (
            retry(),
            retry("why", KeyError("x")),
            retry(exc=KeyError("x"), when=3),
            retry(None, "text", when=timedelta(seconds=3)),
            retry(when=datetime(2030, 1, 2)),
        )
    ]


def representation_of_retry(lib: Library) -> Any:
    retry = lib.module("exceptions").Retry
    return repr(retry()), repr(retry("why", KeyError("x")))


def pushed_request_from_unknown_exchange(lib: Library) -> Any:
    return _pushed(lib, request={"delivery_info": {"exchange": "ex", "routing_key": "rk"}})


def exception_info_after_return(lib: Library) -> Any:
    app = lib.app()
    seen: list[Any] = []

    class Base(app.Task):
        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            seen.append((status, type(einfo).__name__))

    @app.task(shared=False, base=Base)
    def task(x):
        return 1 / x

    task.apply((1,))
    task.apply((0,))
    return seen
