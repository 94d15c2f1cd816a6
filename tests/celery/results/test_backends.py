"""Backends behave as Celery's do: each scenario runs on Celery and on ours, and has one outcome."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch
from uuid import UUID

import pytest

from tests.celery.results.sides import Side, plain

SCENARIOS: list[Callable[[Side], Any]] = []


def scenario(function: Callable[[Side], Any]) -> Callable[[Side], Any]:
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_scenario_has_celerys_outcome(function: Callable[[Side], Any], alike: Any) -> None:
    alike(function)


class Custom(Exception):
    """An exception with arguments that its class doesn't take back."""

    def __init__(self, one: Any, two: Any) -> None:
        super().__init__("one argument")


class Outer:
    class Inner(Exception):
        pass


class Unpicklable(Exception):
    def __init__(self, text: str = "") -> None:
        self.lambda_ = lambda: None
        super().__init__(text)


class UnpicklableKey(KeyError):
    def __reduce__(self) -> Any:
        raise TypeError("not this class")


# -- a backend of a user's own


@scenario
def attributes(side: Side) -> Any:
    kind = side.of("backends.base").Backend
    names = [
        "READY_STATES",
        "UNREADY_STATES",
        "EXCEPTION_STATES",
        "subpolling_interval",
        "supports_native_join",
        "supports_autoexpire",
        "persistent",
        "supports_result_compression",
        "supports_failure_expires",
        "retry_policy",
    ]
    return [getattr(kind, name) for name in names], kind.TimeoutError is side.errors.TimeoutError


@scenario
def instance(side: Side) -> Any:
    backend = side.of("backends.base").BaseBackend(side.app, url="sch://uuuu:pwpw@hostname.dom")
    return [
        backend.serializer,
        backend.content_type,
        backend.content_encoding,
        backend.accept,
        backend.expires,
        backend.always_retry,
        backend.max_retries,
        backend.base_sleep_between_retries_ms,
        backend.max_sleep_between_retries_ms,
        backend.thread_safe,
        backend.url,
        backend.as_uri(),
        backend.as_uri(include_password=True),
        backend.compression,
        backend.is_async,
    ]


@scenario
def uris(side: Side) -> Any:
    kind = side.of("backends.base").BaseBackend
    urls = (
        "redis://:x@h:1/2?a=b",
        "memory://",
        "file:///x/y",
        "",
        None,
        "db+sqlite:///file",
        "sch://user@host",
        "sch://u:p@host/path",
        "name",
    )
    return [kind(side.app, url=url).as_uri() for url in urls]


@scenario
def accepted_content(side: Side) -> Any:
    kind = side.of("backends.base").BaseBackend
    app = side.make_app("accept", accept_content=["json"], result_accept_content=["json", "yaml"])
    return kind(app).accept, kind(app, accept=["pickle"]).accept, kind(side.app).accept, kind(app, accept=[]).accept


@scenario
def expiry(side: Side) -> Any:
    backend = side.make_backend()
    app = side.make_app("expires", result_expires=None)
    return [
        backend.prepare_expires(None),
        backend.prepare_expires(10),
        backend.prepare_expires(timedelta(minutes=1)),
        backend.prepare_expires("3", type=int),
        backend.prepare_expires(timedelta(minutes=1), type=int),
        side.make_backend(app=app).prepare_expires(None),
        side.make_backend(expires=48, expires_type=int).expires,
        backend.prepare_persistent(),
        backend.prepare_persistent(True),
        backend.prepare_persistent(enabled=False),
    ]


@scenario
def no_cache(side: Side) -> Any:
    backend = side.make_backend(max_cached_results=-1)
    backend._cache["x"] = 3
    backend._cache.update({"y": 1})
    backend._cache.setdefault("z", 1)
    return dict(backend._cache), backend.is_cached("x")


@scenario
def cache_is_used(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_done("1", 42)
    first = backend.get_result("1")
    backend.db.clear()
    cached = backend.is_cached("1"), backend.get_result("1"), backend.get_task_meta("1", cache=False)["status"]
    backend.reload_task_result("1")
    return first, cached, backend.get_state("1")


@scenario
def not_implemented(side: Side) -> Any:
    backend = side.of("backends.base").BaseBackend(side.app)
    out: list[Any] = []
    calls: list[Callable[[], Any]] = [
        lambda: backend.forget("x"),
        lambda: backend.add_to_chord("x", "y"),
        lambda: backend._forget("x"),
    ]
    for call in calls:
        try:
            out.append(call())
        except NotImplementedError as error:
            out.append(str(error))
    out.append((backend.cleanup(), backend.process_cleanup(), backend.on_task_call(None, "x")))
    out.append((backend.on_chord_part_return(None, None, None), backend.ensure_chords_allowed()))
    out.append((backend.set_chord_size("g", 3), backend.exception_safe_to_retry(KeyError())))
    out.append((backend.add_pending_result(1), backend.remove_pending_result(2)))
    return out


@scenario
def key_value_not_implemented(side: Side) -> Any:
    backend = side.of("backends.base").KeyValueStoreBackend(side.app)
    out: list[Any] = []
    calls: list[Callable[[], Any]] = [
        lambda: backend.get("a"),
        lambda: backend.set("a", 1),
        lambda: backend.delete("a"),
        lambda: backend.mget(["a"]),
        lambda: backend.incr("a"),
        lambda: backend.forget("a"),
        lambda: backend.expire("a", 1),
    ]
    for call in calls:
        try:
            out.append(call())
        except NotImplementedError as error:
            out.append(str(error))
    return out


@scenario
def pickled_backend(side: Side) -> Any:
    side.app.set_current()
    backend = side.of("backends.base").BaseBackend(side.app)
    again = pickle.loads(pickle.dumps(backend))
    return type(again) is type(backend), again.app is side.app, backend.__reduce__((1,), {"a": 2})[1][1:]


# -- keys and values


@scenario
def stored_and_removed(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_done("1", "Hello world")
    before = backend.get_result("1"), backend.get_state("1"), backend.get_status("1"), backend.task_result_exists("1")
    backend.forget("1")
    return before, backend.get_state("1"), backend.get_result("1"), backend.task_result_exists("1")


@scenario
def states_of_the_end(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_failure("f", KeyError("foo"), traceback="tb")
    backend.mark_as_retry("r", KeyError("bar"), traceback="tb2")
    backend.mark_as_revoked("v", "why")
    backend.mark_as_started("s", pid=1)
    return [
        (task_id, backend.get_state(task_id), backend.get_result(task_id), backend.get_traceback(task_id))
        for task_id in "frvs"
    ] + [backend.get_task_meta("f"), backend.get_children("f")]


@scenario
def success_is_not_overwritten(side: Side) -> Any:
    backend = side.make_backend()
    backend.store_result("1", "yes", "SUCCESS")
    backend.store_result("1", "no", "FAILURE")
    backend.store_result("2", "no", "STARTED")
    backend.store_result("2", "yes", "SUCCESS")
    return backend.get_result("1"), backend.get_state("1"), backend.get_result("2")


@scenario
def returned_by_store_result(side: Side) -> Any:
    backend = side.make_backend()
    return [
        backend.store_result("1", 42, "SUCCESS"),
        backend.store_result("2", KeyError("x"), "FAILURE"),
        backend.store_result("3", side.app.AsyncResult("r"), "SUCCESS"),
    ]


@scenario
def document_of_a_request(side: Side) -> Any:
    request = side.of("app.task").Context(
        id="1",
        task="add",
        args=[1, 2],
        kwargs={"a": 1},
        hostname="w",
        retries=3,
        group="g",
        parent_id="p",
        delivery_info={"routing_key": "q"},
        stamps={"s": "t", "other": 1},
        stamped_headers=["s"],
    )
    request.children.append(side.app.AsyncResult("c"))
    backend = side.make_backend()
    backend.mark_as_done("1", 42, request=request)
    meta = backend.get_task_meta("1")
    plain_app = side.make_app("plain", result_extended=False)
    other = side.make_backend(app=plain_app)
    other.mark_as_done("1", 42, request=request)
    return meta, other.get_task_meta("1")


@scenario
def document_parts(side: Side) -> Any:
    backend = side.make_backend()
    made = backend._get_result_meta(result={"fizz": "buzz"}, state="SUCCESS", traceback=None, request=None)
    running = backend._get_result_meta(result=None, state="STARTED", traceback=None, request=None)
    raw = backend._get_result_meta({"a": 1}, "SUCCESS", None, None, format_date=False)
    return made, type(made["date_done"]).__name__, running, running["date_done"], type(raw["date_done"]).__name__


@scenario
def encoded_parts_of_a_document(side: Side) -> Any:
    request = side.of("app.task").Context(id="1", task="add", args=[1], kwargs={"a": 1})
    meta = side.make_backend()._get_result_meta("r", "SUCCESS", None, request, encode=True)
    return type(meta["kwargs"]).__name__, json.loads(meta["kwargs"]), json.loads(meta["args"])


@scenario
def keys(side: Side) -> Any:
    backend = side.make_backend()
    uuid = UUID(int=3)
    return [
        backend.get_key_for_task("x"),
        backend.get_key_for_task("x", "y"),
        backend.get_key_for_task(uuid),
        backend.get_key_for_group("g"),
        backend.get_key_for_chord("c"),
        backend._strip_prefix(backend.get_key_for_task("x")),
        backend._strip_prefix(backend.get_key_for_group("x")),
        backend._strip_prefix("x1b34"),
        backend.task_keyprefix,
    ]


@pytest.mark.parametrize("method", ["get_key_for_task", "get_key_for_group", "get_key_for_chord"])
@pytest.mark.parametrize("value", [None, ""])
def test_key_of_nothing_is_refused_as_in_celery(method: str, value: Any, alike: Any) -> None:
    def of(side: Side) -> Any:
        with pytest.raises(ValueError, match="must not be empty") as caught:
            getattr(side.make_backend(), method)(value)
        return str(caught.value)

    assert not str(alike(of)).startswith("raised")


@scenario
def global_keyprefix(side: Side) -> Any:
    out = []
    for prefix in ("test_global_keyprefix_", "test_global_keyprefix", "a:"):
        app = side.make_app("prefix", result_backend_transport_options={"global_keyprefix": prefix})
        backend = side.make_backend(app=app)
        out.append((backend.task_keyprefix, backend.group_keyprefix, backend.chord_keyprefix))
    return out


@scenario
def many(side: Side) -> Any:
    out: list[Any] = []
    for returns_dict in (False, True):
        backend = side.make_backend(returns_dict=returns_dict)
        ids = {str(number): number for number in range(10)}
        for task_id, number in ids.items():
            backend.mark_as_done(task_id, number)
        out.append(sorted((task_id, meta["result"]) for task_id, meta in backend.get_many(list(ids), timeout=1)))
        out.append(sorted(task_id for task_id in ids if backend.is_cached(task_id)))
        backend.db.clear()
        out.append(sorted((task_id, meta["result"]) for task_id, meta in backend.get_many(list(ids), timeout=1)))
    return out


@scenario
def many_time_out(side: Side) -> Any:
    return list(side.make_backend().get_many(["1", "2"], timeout=0.01, interval=0.01))


@scenario
def many_with_hooks(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_done("1", 1)
    seen: list[Any] = []
    told: list[Any] = []
    try:
        seen.extend(
            backend.get_many(
                ["1", "2"], timeout=0.01, interval=0.01, on_message=seen.append, on_interval=lambda: told.append(1)
            )
        )
    except side.errors.TimeoutError:
        seen.append("timeout")
    return len(seen), bool(told)


@scenario
def many_with_few_looks(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_done("1", 1)
    return [task_id for task_id, _ in backend.get_many(["1", "2"], interval=0.01, max_iterations=1)]


@scenario
def saved_group(side: Side) -> Any:
    backend = side.make_backend()
    made = side.app.GroupResult("g", [side.app.AsyncResult("1"), side.app.AsyncResult("2")])
    same = backend.save_group("g", made) is made
    restored = backend.restore_group("g")
    backend.reload_group_result("g")
    again = backend.get_group_meta("g")
    backend.delete_group("g")
    return same, restored == made, again["result"] == made, backend.restore_group("g"), backend.restore_group("no")


@scenario
def waiting(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_done("1", 1)
    called: list[Any] = []
    try:
        backend.wait_for("2", timeout=0.01, interval=0.01, on_interval=lambda: called.append(1))
    except side.errors.TimeoutError as error:
        called.append(str(error))
    return backend.wait_for("1"), bool(called[:-1]), called[-1]


# -- encoding


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml"])
def test_value_is_encoded_as_in_celery(serializer: str, alike: Any) -> None:
    def of(side: Side) -> Any:
        backend = side.make_backend(serializer=serializer, accept=[serializer])
        written = backend.encode({"a": [1, None, "é"]})
        return type(written).__name__, backend.decode(written), backend.content_type, backend.decode(None)

    assert not str(alike(of)).startswith("raised")


@scenario
def compressed(side: Side) -> Any:
    app = side.make_app("compressed", result_compression="gzip")
    backend = side.make_backend(app=app)
    backend.mark_as_done("1", "x" * 100)
    (payload,) = backend.db.values()
    magic = side.of("backends.base").COMPRESSED_PAYLOAD_MAGIC
    unset = side.make_backend()
    unset.db = backend.db
    return backend.compression, payload.startswith(magic), backend.get_result("1"), unset.get_result("1")


@scenario
def compression_that_a_backend_does_not_support(side: Side) -> Any:
    app = side.make_app("compressed", result_compression="gzip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        backend = side.of("backends.base").BaseBackend(app)
    return backend.compression, [(str(each.message).strip(), each.category.__name__) for each in caught]


@scenario
def unknown_compression(side: Side) -> Any:
    return side.make_backend(app=side.make_app("compressed", result_compression="nonsense"))


@scenario
def failure_expiry_that_a_backend_does_not_support(side: Side) -> Any:
    app = side.make_app("failure", result_failure_expires=60)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        side.of("backends.base").BaseBackend(app)
    return [each.category.__name__ for each in caught]


@scenario
def prepared_values(side: Side) -> Any:
    backend, pickled = side.make_backend(), side.make_backend(serializer="pickle")
    result = side.app.AsyncResult("1")
    return [
        backend.prepare_value(result),
        pickled.prepare_value(result) is result,
        backend.prepare_value(3),
        backend.encode_result(result, "SUCCESS"),
        backend.encode_result(KeyError("x"), "FAILURE"),
        backend.encode_result(KeyError("x"), "SUCCESS").__class__.__name__,
        backend.encode_result(3, "FAILURE"),
    ]


# -- exceptions


@scenario
def prepared_exceptions(side: Side) -> Any:
    out: list[Any] = []
    for serializer in ("json", "pickle", "yaml"):
        backend = side.make_backend(serializer=serializer)
        for error in (KeyError("foo"), KeyError("foo", object), Outer.Inner("x"), Custom(1, 2), UnpicklableKey("k")):
            made = backend.prepare_exception(error)
            back = backend.exception_to_python(made)
            shown = {**made, "exc_message": len(made["exc_message"])} if isinstance(made, dict) else type(made).__name__
            out.append((shown, type(back).__name__, isinstance(back, KeyError), len(back.args)))
    return out


@scenario
def unpicklable_exception(side: Side) -> Any:
    backend = side.make_backend(serializer="pickle")
    made = backend.prepare_exception(Unpicklable("foo"))
    back = backend.exception_to_python(made)
    return type(made).__name__, str(made), type(back).__name__, back.args


@scenario
def explicit_serializer(side: Side) -> Any:
    return side.make_backend().prepare_exception(KeyError("x"), serializer="pickle")


DESCRIPTIONS: list[Any] = [
    None,
    {},
    KeyError("x"),
    {"exc_type": "Exception", "exc_message": "eventlet", "exc_module": "builtins"},
    {"exc_type": "Exception", "exc_message": ["a", "b"], "exc_module": "builtins"},
    {"exc_type": "KeyError", "exc_message": ("a",), "exc_module": "builtins"},
    {"exc_type": "Unheard", "exc_message": ("a",), "exc_module": "builtins"},
    {"exc_type": "Unheard", "exc_message": ("a",), "exc_module": "no.such.module"},
    {"exc_type": "Unheard", "exc_message": ("a",)},
    {"exc_type": "Unheard", "exc_module": None},
    {"exc_type": "Custom", "exc_message": ["one"], "exc_module": __name__},
    {"exc_type": "Outer.Inner", "exc_message": ["one"], "exc_module": __name__},
    {"exc_type": "system", "exc_message": ["echo"], "exc_module": "os"},
    {"exc_type": "object", "exc_message": ["echo"], "exc_module": "builtins"},
    {"exc_message": ["echo"]},
    3,
    (("exc_type", "KeyError"), ("exc_message", ["a"]), ("exc_module", "builtins")),
]


@pytest.mark.parametrize("described", DESCRIPTIONS, ids=repr)
def test_exception_is_made_anew_as_in_celery(described: Any, alike: Any) -> None:
    def of(side: Side) -> Any:
        made = side.make_backend().exception_to_python(described)
        return type(made).__name__, str(made), getattr(made, "args", None), isinstance(made, Exception)

    alike(of)


@scenario
def refused_exception_says_what_it_was(side: Side) -> Any:
    try:
        side.make_backend().exception_to_python({"exc_type": "system", "exc_message": ["echo"], "exc_module": "os"})
    except side.errors.SecurityError as error:
        return str(error)
    return "not refused"


@scenario
def failure_from_the_stack(side: Side) -> Any:
    backend = side.make_backend()
    try:
        raise KeyError("foo")
    except KeyError:
        info = backend.fail_from_current_stack("1")
        other = backend.fail_from_current_stack("2", exc=ValueError("given"))
    return [
        backend.get_state("1"),
        backend.get_result("1"),
        "KeyError" in backend.get_traceback("1"),
        "KeyError" in str(info),
        "Traceback" in info.traceback,
        backend.get_result("2"),
        type(other).__name__,
    ]


# -- requests, chords and errbacks


def request_of(side: Side, **attributes: Any) -> Any:
    return side.of("app.task").Context({"id": "1", "task": "add", "errbacks": [], "chord": None, **attributes})


@scenario
def results_that_are_ignored(side: Side) -> Any:
    backend = side.make_backend()
    backend.mark_as_done("1", 42, request=request_of(side, ignore_result=True))
    backend.mark_as_done("2", 42, store_result=False)
    backend.mark_as_failure("3", KeyError(), store_result=False)
    backend.mark_as_revoked("4", store_result=False)
    return [backend.get_state(task_id) for task_id in "1234"]


@scenario
def chord_is_told(side: Side) -> Any:
    backend = side.make_backend()
    told: list[Any] = []
    backend.on_chord_part_return = lambda request, state, result, **_: told.append((state, plain(result)))
    request = request_of(side, chord={"task": "add"})
    error = KeyError("x")
    backend.mark_as_done("1", 42, request=request)
    backend.mark_as_failure("2", error, request=request)
    backend.mark_as_revoked("3", "why", request=request)
    return told


@scenario
def tasks_after_a_failure_fail(side: Side) -> Any:
    backend = side.make_backend()
    body: dict[str, Any] = {
        "task": "add",
        "options": {"task_id": "body"},
        "args": [],
        "kwargs": {},
        "subtask_type": None,
    }
    chain = [
        {"task": "add", "options": {"task_id": "next"}, "args": [], "kwargs": {}, "subtask_type": None},
        {"task": "celery.chord", "options": {}, "args": [], "kwargs": {"body": body}, "subtask_type": "chord"},
        {"task": "add", "options": {}, "args": [], "kwargs": {}, "subtask_type": None},
    ]
    backend.mark_as_failure("1", KeyError("x"), traceback="tb", request=request_of(side, chain=chain))
    return [(backend.get_state(each), backend.get_result(each)) for each in ("1", "next", "body")]


@scenario
def errback_takes_the_error(side: Side) -> Any:
    app = side.make_app("errbacks")
    seen: list[Any] = []

    @app.task(name="errback", shared=False)  # type: ignore[untyped-decorator]
    def errback(request: Any, exc: Any, traceback: Any) -> None:
        seen.append((request.id, type(exc).__name__, traceback))

    backend = side.make_backend(app=app)
    backend.mark_as_failure("1", KeyError("x"), traceback="tb", request=request_of(side, errbacks=[errback.s()]))
    backend.mark_as_failure("2", KeyError("x"), request=request_of(side, errbacks=[errback.s()]), call_errbacks=False)
    return seen


@scenario
def errback_that_fails_is_logged(side: Side) -> Any:
    app = side.make_app("errbacks")

    @app.task(name="errback", shared=False)  # type: ignore[untyped-decorator]
    def errback(request: Any, exc: Any, traceback: Any) -> None:
        raise ValueError("in the errback")

    backend = side.make_backend(app=app)
    backend.mark_as_failure("1", KeyError("x"), request=request_of(side, errbacks=[errback.s()]))
    return backend.get_state("1")


@scenario
def errback_that_takes_the_id_is_called_eagerly(side: Side) -> Any:
    app = side.make_app("errbacks", task_always_eager=True, task_store_eager_result=True)
    seen: list[Any] = []

    @app.task(name="errback", shared=False)  # type: ignore[untyped-decorator]
    def errback(task_id: Any) -> None:
        seen.append(task_id)

    backend = side.make_backend(app=app)
    backend.mark_as_failure("1", KeyError("x"), request=request_of(side, errbacks=[errback.s()], delivery_info={}))
    return seen


def chord_of(side: Side, app: Any = None) -> Any:
    """A backend that counts, a saved header of two tasks, and a body whose calls are noted."""
    app = app or side.app
    backend = side.make_backend(counts=True)
    header = app.GroupResult("header", [app.AsyncResult("m1", backend=backend), app.AsyncResult("m2", backend=backend)])
    backend.save_group("header", header)
    return backend


@scenario
def counted_chord_sends_its_body(side: Side) -> Any:
    backend = chord_of(side)
    body = side.app.signature("add", options={"task_id": "body"})
    sent: list[Any] = []
    with (
        patch.object(type(body), "delay", lambda self, *args: sent.append((self.task, args))),
        patch.object(type(side.app), "_backend", backend, create=True),
    ):
        side.app._backend = backend
        for task_id, value in (("m1", 1), ("m2", 2)):
            request = request_of(side, id=task_id, group="header", chord=body)
            backend.mark_as_done(task_id, value, request=request)
        del side.app._backend
    return sent, backend.restore_group("header", cache=False), [key for key, _ in backend.expired]


@scenario
def counted_chord_of_nothing(side: Side) -> Any:
    backend = side.make_backend(counts=True)
    uncounted = side.make_backend(counts=False)
    request = request_of(side, group=None, chord={"task": "add"})
    return backend.on_chord_part_return(request, "SUCCESS", 1), uncounted.on_chord_part_return(request, "SUCCESS", 1)


@scenario
def counted_chord_without_its_header_fails(side: Side) -> Any:
    backend = side.make_backend(counts=True)
    body = side.app.signature("unregistered", options={"task_id": "body"})
    backend.on_chord_part_return(request_of(side, id="m", group="lost", chord=body), "SUCCESS", 1)
    return backend.get_state("body"), backend.get_result("body")


@scenario
def chord_error(side: Side) -> Any:
    backend = side.make_backend()
    body = side.app.signature("unregistered", options={"task_id": "body"})
    nameless = side.app.signature("unregistered")
    try:
        raise KeyError("stack")
    except KeyError:
        backend.chord_error_from_stack(body, ValueError("x"))
        backend.chord_error_from_stack(nameless)
    return backend.get_state("body"), backend.get_result("body"), backend.get_result(nameless.id)


@scenario
def chord_unlock(side: Side) -> Any:
    app = side.make_app("unlock")
    backend = side.of("backends.base").BaseBackend(app)
    unlock = app.tasks["celery.chord_unlock"]
    with patch.object(unlock, "apply_async") as called:
        body = app.signature("add", options={"queue": "q", "priority": 3})
        backend.apply_chord(("g", [app.AsyncResult("1")]), body, interval=2)
        (args,), kwargs = called.call_args.args[:1], called.call_args.kwargs
    return args[0], called.call_args.args[1], {name: kwargs[name] for name in ("countdown", "queue", "priority")}


# -- repeating


@scenario
def failed_operations_are_repeated(side: Side) -> Any:
    app = side.make_app("retry", result_backend_always_retry=True, result_backend_max_retries=3)
    backend = side.make_backend(app=app)
    slept: list[float] = []
    told: list[Any] = []
    backend.exception_safe_to_retry = lambda exc: isinstance(exc, ValueError)
    backend.on_backend_retryable_error = lambda exc: told.append(type(exc).__name__)
    backend._sleep = slept.append
    backend._get_task_meta_for = Mock(side_effect=[ValueError(), {"status": "SUCCESS", "result": 42}])
    value = backend.get_task_meta("1")
    backend._store_result = Mock(side_effect=[ValueError(), 42])
    stored = backend.store_result("1", 42, "SUCCESS")
    return value, stored, len(slept), told


@scenario
def failed_reading_is_given_up(side: Side) -> Any:
    app = side.make_app("retry", result_backend_always_retry=True, result_backend_max_retries=2)
    backend = side.make_backend(app=app)
    backend.exception_safe_to_retry = lambda exc: True
    backend._sleep = lambda amount: None
    backend._get_task_meta_for = Mock(side_effect=ValueError)
    try:
        backend.get_task_meta("1")
    except side.errors.BackendGetMetaError as error:
        return repr(error), type(error.__cause__ or error.__context__).__name__, backend._get_task_meta_for.call_count
    return "no error"


@scenario
def failed_writing_is_given_up(side: Side) -> Any:
    app = side.make_app("retry", result_backend_always_retry=True, result_backend_max_retries=2)
    backend = side.make_backend(app=app)
    backend.exception_safe_to_retry = lambda exc: True
    backend._sleep = lambda amount: None
    backend._store_result = Mock(side_effect=ValueError)
    try:
        backend.store_result("1", 42, "SUCCESS")
    except side.errors.BackendStoreError as error:
        return repr(error), backend._store_result.call_count
    return "no error"


@scenario
def failed_operation_is_not_repeated_by_default(side: Side) -> Any:
    backend = side.make_backend()
    backend._get_task_meta_for = Mock(side_effect=ValueError)
    return backend.get_task_meta("1")


# -- without a backend


@scenario
def disabled(side: Side) -> Any:
    app = side.make_app("disabled", result_backend="disabled")
    backend = app.backend
    out: list[Any] = [type(backend).__name__, backend.as_uri(), backend.store_result("1", 1, "SUCCESS")]
    for call in (backend.get_state, backend.get_status, backend.get_result, backend.get_traceback, backend.wait_for):
        try:
            out.append(call("1"))
        except NotImplementedError as error:
            out.append(str(error).partition("\n")[0])
    try:
        backend.ensure_chords_allowed()
    except NotImplementedError as error:
        out.append(str(error).partition("\n")[0])
    return out


# -- looking backends up


@scenario
def by_url(side: Side) -> Any:
    of = side.of("app.backends")
    kind, url = of.by_url("cache+memory://", side.app.loader)
    none, nothing = of.by_url(None, side.app.loader)
    return kind.__name__, url, none.__name__, nothing, kind(app=side.app, url=url).as_uri()


@scenario
def by_name(side: Side) -> Any:
    of, loader = side.of("app.backends"), side.app.loader
    own = side.of("backends.base").BaseBackend
    names = [of.by_name(name, loader).__name__ for name in ("disabled", "cache", None)]
    path = f"{side.root}.backends.base:BaseBackend"
    return [*names, of.by_name(path, loader) is own, of.by_name(own, loader) is own, of.by_name("cache") is not None]


@scenario
def by_unknown_name(side: Side) -> Any:
    return side.of("app.backends").by_name("fasodaopjeqijwqe", side.app.loader)


@scenario
def by_name_of_a_module(side: Side) -> Any:
    try:
        side.of("app.backends").by_name(sys, side.app.loader)
    except side.errors.ImproperlyConfigured as error:
        return str(error).startswith("Unknown result backend: <module 'sys'"), "is a Python module" in str(error)
    return "found"


@scenario
def by_name_that_the_loader_knows(side: Side) -> Any:
    loader = Mock(override_backends={"own": f"{side.root}.backends.base:DisabledBackend"})
    return side.of("app.backends").by_name("own", loader).__name__


@scenario
def by_name_that_can_not_be_read(side: Side) -> Any:
    with patch(f"{side.root}.app.backends.symbol_by_name", side_effect=ValueError("no")):
        return side.of("app.backends").by_name("xxx", side.app.loader)
