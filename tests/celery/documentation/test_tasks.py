"""Constructs of the guide "Tasks": declarations, requests, retries, options, states, handlers and replacement."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    return side.app("proj")


def test_decorator_takes_options_and_other_decorators(app: Any) -> None:
    def twice(function: Any) -> Any:
        def run(*args: Any) -> Any:
            return function(*args) * 2

        run.__name__, run.__module__ = function.__name__, function.__module__
        return run

    @app.task(name="sum-of-two-numbers", serializer="json", typing=False)
    @twice
    def add(x: int, y: int) -> int:
        return x + y

    assert (add.name, add.serializer, add(1, 2)) == ("sum-of-two-numbers", "json", 6)


def test_bound_task_knows_its_request(side: Side, app: Any) -> None:
    @app.task(bind=True)
    def dump(self: Any, x: int, y: int = 0) -> Any:
        request = self.request
        return {
            "id": request.id,
            "args": list(request.args),
            "kwargs": request.kwargs,
            "retries": request.retries,
            "eager": request.called_directly,
            "queue": request.delivery_info["routing_key"],
            "task": request.task,
            "root": request.root_id,
            "parent": request.parent_id,
            "group": request.group,
            "hostname": bool(request.hostname),
            "is_eager": bool(request.is_eager),
        }

    with side.worker(app):
        result = dump.delay(1, y=2)
        shown = get(result)
    assert shown == {
        "id": result.id,
        "args": [1],
        "kwargs": {"y": 2},
        "retries": 0,
        "eager": False,
        "queue": app.conf.task_default_queue,
        "task": dump.name,
        "root": result.id,
        "parent": None,
        "group": None,
        "hostname": True,
        "is_eager": False,
    }


def test_task_logger_is_below_the_logger_of_tasks(side: Side) -> None:
    logger = side.module("utils.log").get_task_logger("proj.tasks")
    assert (logger.name, logger.parent.name) == ("proj.tasks", "celery.task")
    assert isinstance(logger, logging.Logger)


def test_automatic_names_follow_the_module(app: Any) -> None:
    assert app.gen_task_name("add", "proj.tasks") == "proj.tasks.add"


def test_names_can_be_made_by_the_application(side: Side) -> None:
    class Named(side.Celery):  # type: ignore[name-defined]
        def gen_task_name(self, name: str, module: str) -> str:
            return super().gen_task_name(name, module.removesuffix(".tasks"))  # type: ignore[no-any-return]

    app = Named("main", set_as_current=False)
    assert app.gen_task_name("add", "moduleA.tasks") == "moduleA.add"


def test_argument_checks_can_be_switched_off(side: Side, app: Any) -> None:
    @app.task
    def strict(x: int) -> int:
        return x

    @app.task(typing=False)
    def lax(x: int) -> int:
        return x

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        strict.delay()
    with side.worker(app), pytest.raises(TypeError):
        get(lax.delay())


def test_sensitive_arguments_have_another_representation(side: Side, app: Any) -> None:
    @app.task(bind=True)
    def shown(self: Any, *args: Any, **kwargs: Any) -> Any:
        return [self.request.argsrepr, self.request.kwargsrepr]

    with side.worker(app):
        result = shown.apply_async(("1234",), {"card": "5678"}, argsrepr="<account>", kwargsrepr="{'card': '****'}")
        assert get(result) == ["<account>", "{'card': '****'}"]


# -- retries


def test_retry_runs_the_task_again(side: Side, app: Any) -> None:
    @app.task(bind=True, max_retries=3)
    def flaky(self: Any, url: str) -> Any:
        if self.request.retries < 2:
            try:
                raise ConnectionError(url)
            except ConnectionError as error:
                raise self.retry(exc=error, countdown=0) from error
        return self.request.retries

    with side.worker(app):
        assert get(flaky.delay("example.com")) == 2


def test_retry_gives_up_with_the_exception_or_its_own(side: Side, app: Any) -> None:
    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def refused(self: Any) -> None:
        raise self.retry(exc=TimeoutError("still down"))

    @app.task(bind=True, max_retries=0)
    def nothing(self: Any) -> None:
        raise self.retry(countdown=0)

    with side.worker(app):
        with pytest.raises(TimeoutError, match="still down"):
            get(refused.delay())
        with pytest.raises(side.module("exceptions").MaxRetriesExceededError, match="Can't retry"):
            get(nothing.delay())


def test_known_exceptions_are_retried_automatically(side: Side, app: Any) -> None:
    runs: list[Any] = []

    @app.task(
        autoretry_for=(ConnectionError,), max_retries=5, retry_backoff=False, default_retry_delay=0, retry_jitter=False
    )
    def fetch() -> int:
        runs.append(1)
        if len(runs) < 3:
            raise ConnectionResetError
        return len(runs)

    @app.task(
        autoretry_for=(Exception,), dont_autoretry_for=(KeyError,), retry_kwargs={"max_retries": 5, "countdown": 0}
    )
    def lookup() -> None:
        runs.append("lookup")
        raise KeyError("name")

    with side.worker(app):
        assert get(fetch.delay()) == 3
        with pytest.raises(KeyError):
            get(lookup.delay())
    assert runs == [1, 1, 1, "lookup"]


def test_retry_options_can_stand_in_a_base_class(side: Side, app: Any) -> None:
    class Retrying(side.Task):  # type: ignore[name-defined]
        autoretry_for = (TypeError,)
        max_retries = 1
        default_retry_delay = 0

    runs = []

    @app.task(base=Retrying)
    def add(x: Any, y: Any) -> Any:
        runs.append(x)
        return x + y

    with side.worker(app), pytest.raises(TypeError):
        get(add.delay(1, "a"))
    assert runs == [1, 1]


def test_backoff_is_exponential_with_an_upper_limit(side: Side) -> None:
    backoff = side.module("utils.time").get_exponential_backoff_interval
    assert [backoff(factor=2, retries=n, maximum=10) for n in range(5)] == [2, 4, 8, 10, 10]
    assert 0 <= backoff(factor=2, retries=3, maximum=100, full_jitter=True) <= 16


# -- options


def test_options_are_attributes_of_the_task(app: Any) -> None:
    @app.task(
        rate_limit="10/m", time_limit=30, soft_time_limit=20, ignore_result=True, acks_late=True, max_retries=None
    )
    def configured() -> None:
        return None

    shown = {
        name: getattr(configured, name)
        for name in [
            "rate_limit",
            "time_limit",
            "soft_time_limit",
            "ignore_result",
            "acks_late",
            "max_retries",
            "default_retry_delay",
            "store_errors_even_if_ignored",
            "track_started",
            "throws",
            "priority",
            "expires",
        ]
    }
    assert shown == {
        "rate_limit": "10/m",
        "time_limit": 30,
        "soft_time_limit": 20,
        "ignore_result": True,
        "acks_late": True,
        "max_retries": None,
        "default_retry_delay": 180,
        "store_errors_even_if_ignored": False,
        "track_started": False,
        "throws": (),
        "priority": None,
        "expires": None,
    }


def test_attributes_of_any_name_can_be_given(app: Any) -> None:
    @app.task(bind=True, tenant="blue")
    def of_tenant(self: Any) -> Any:
        return self.tenant

    assert of_tenant() == "blue"


def test_expected_exceptions_are_failures(side: Side, app: Any) -> None:
    @app.task(throws=(KeyError,))
    def get_user() -> None:
        raise KeyError("ada")

    with side.worker(app):
        result = get_user.delay()
        with pytest.raises(KeyError, match="ada"):
            get(result)
    assert result.state == "FAILURE"


# -- states


def test_custom_states_have_meta_data(side: Side, app: Any) -> None:
    @app.task(bind=True)
    def upload(self: Any, files: list[str]) -> Any:
        seen = []
        for number, _ in enumerate(files):
            self.update_state(state="PROGRESS", meta={"current": number, "total": len(files)})
            stored = self.AsyncResult(self.request.id)
            seen.append([stored.state, stored.info])
        return seen

    with side.worker(app):
        assert get(upload.delay(["a", "b"])) == [
            ["PROGRESS", {"current": 0, "total": 2}],
            ["PROGRESS", {"current": 1, "total": 2}],
        ]


def test_states_can_be_compared(side: Side) -> None:
    states = side.module("states")
    state = states.state
    assert state("PENDING") < state("PROGRESS") < state("SUCCESS")
    assert {states.SUCCESS, states.FAILURE, states.REVOKED} == states.READY_STATES
    assert states.FAILURE in states.PROPAGATE_STATES
    assert states.precedence("PENDING") > states.precedence("FAILURE")


def test_exceptions_that_can_be_pickled_keep_their_arguments(side: Side, app: Any) -> None:
    @app.task
    def lookup() -> None:
        raise LookupError("status", 404)

    with side.worker(app):
        error = get(lookup.delay(), propagate=False)
    assert (type(error), error.args) == (LookupError, ("status", 404))


def test_ignored_task_stores_nothing(side: Side, app: Any) -> None:
    ignore = side.module("exceptions").Ignore

    @app.task(bind=True)
    def skip(self: Any) -> None:
        self.update_state(state="SKIPPED", meta={"why": "blocked"})
        raise ignore

    @app.task
    def done() -> str:
        return "done"

    with side.worker(app, concurrency=1):
        skipped = skip.delay()
        assert get(done.delay()) == "done"
    assert (skipped.state, skipped.info) == ("SKIPPED", {"why": "blocked"})


def test_rejected_task_leaves_its_queue(side: Side, app: Any) -> None:
    reject, runs = side.module("exceptions").Reject, []

    @app.task(bind=True, acks_late=True)
    def heavy(self: Any) -> None:
        runs.append(self.request.id)
        raise reject("out of memory", requeue=False)

    @app.task
    def done() -> str:
        return "done"

    with side.worker(app, concurrency=1):
        rejected = heavy.delay()
        assert get(done.delay()) == "done"
    assert runs == [rejected.id]


# -- classes and handlers


def test_task_object_lives_as_long_as_the_process(side: Side, app: Any) -> None:
    class Database(side.Task):  # type: ignore[name-defined]
        _connection: Any = None

        @property
        def connection(self) -> Any:
            if self._connection is None:
                self._connection = object()
            return self._connection

    @app.task(base=Database, bind=True)
    def rows(self: Any) -> int:
        return id(self.connection)

    with side.worker(app):
        assert get(rows.delay()) == get(rows.delay())


def test_handlers_are_called_with_the_outcome(side: Side, app: Any) -> None:
    told: list[Any] = []

    class Telling(side.Task):  # type: ignore[name-defined]
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            told.append(("before_start", list(args)))

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            told.append(("on_success", retval))

        def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("on_failure", repr(exc), "ZeroDivisionError" in str(einfo)))

        def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("on_retry", repr(exc)))

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            told.append(("after_return", status))

    @app.task(base=Telling)
    def divide(x: int, y: int) -> float:
        return x / y

    @app.task(base=Telling, bind=True, max_retries=1)
    def again(self: Any) -> None:
        if self.request.retries == 0:
            raise self.retry(exc=OSError("down"), countdown=0)

    @app.task
    def last() -> None:
        return None

    with side.worker(app):
        assert get(divide.delay(4, 2)) == 2
        assert isinstance(get(divide.delay(1, 0), propagate=False), ZeroDivisionError)
        get(again.delay())
        get(last.delay())
    assert told == [
        ("before_start", [4, 2]),
        ("on_success", 2.0),
        ("after_return", "SUCCESS"),
        ("before_start", [1, 0]),
        ("on_failure", "ZeroDivisionError('division by zero')", True),
        ("after_return", "FAILURE"),
        ("before_start", []),
        ("on_retry", "OSError('down')"),
        ("before_start", []),
        ("on_success", None),
        ("after_return", "SUCCESS"),
    ]


def test_class_based_task_is_registered(side: Side, app: Any) -> None:
    class Greet(side.Task):  # type: ignore[name-defined]
        name = "proj.greet"

        def run(self, name: str) -> str:
            return f"Hello, {name}"

    greet = app.register_task(Greet())
    with side.worker(app):
        assert get(greet.delay("Ada")) == "Hello, Ada"
    assert app.tasks["proj.greet"] is greet


def test_task_replaces_itself(side: Side, app: Any) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(bind=True)
    def delegate(self: Any, x: int) -> None:
        self.replace(add.s(x, 1))

    @app.task(bind=True)
    def delegate_to_chain(self: Any, x: int) -> None:
        raise self.replace(add.s(x, 1) | add.s(10))

    with side.worker(app):
        assert get(delegate.delay(1)) == 2
        assert get(side.chain(delegate_to_chain.s(1), add.s(100)).delay()) == 112


def test_task_waits_for_another_if_it_is_allowed(side: Side, app: Any) -> None:
    @app.task
    def inner() -> int:
        return 1

    @app.task
    def allowed() -> Any:
        return inner.delay().get(disable_sync_subtasks=False, timeout=10)

    with side.worker(app, concurrency=2, pool="threads"):
        assert get(allowed.delay()) == 1


def test_task_that_waits_for_another_is_refused(ours: Side) -> None:
    """Celery refuses it too, but not in the worker of its tests, which allows it."""
    app = ours.app()

    @app.task
    def waits() -> Any:
        with pytest.raises(RuntimeError, match=r"Never call result.get\(\) within a task"):
            app.AsyncResult("any").get(timeout=1)

    with ours.worker(app):
        assert get(waits.delay()) is None


def test_chain_of_callbacks_replaces_waiting(side: Side, app: Any) -> None:
    @app.task
    def fetch(url: str) -> str:
        return f"page of {url}"

    @app.task
    def parse(page: str) -> dict[str, int]:
        return {"length": len(page)}

    @app.task(ignore_result=False)
    def store(info: dict[str, int], url: str) -> Any:
        return [url, info]

    with side.worker(app):
        workflow = fetch.s("a") | parse.s() | store.s("a")
        assert get(workflow()) == ["a", {"length": 9}]


def test_models_are_validated_and_returned_as_mappings(side: Side, app: Any) -> None:
    pydantic = pytest.importorskip("pydantic")
    models = type("Models", (), {})
    models.Order = pydantic.create_model("Order", number=(int, ...))  # type: ignore[attr-defined]
    models.Receipt = pydantic.create_model("Receipt", text=(str, ...))  # type: ignore[attr-defined]

    def buy(order: Any) -> Any:
        assert isinstance(order, models.Order)  # type: ignore[attr-defined]
        return models.Receipt(text=f"order {order.number}")  # type: ignore[attr-defined]

    buy.__annotations__ = {"order": models.Order, "return": models.Receipt}  # type: ignore[attr-defined]
    task = app.task(pydantic=True)(buy)
    with side.worker(app):
        assert get(task.delay({"number": "7"})) == {"text": "order 7"}
        refused = get(task.delay({"number": "seven"}), propagate=False)
    assert "number" in str(refused) or "ValidationError" in str(refused)


ATTRIBUTES = (
    "id group chord correlation_id args kwargs origin retries is_eager eta expires hostname delivery_info reply_to "
    "called_directly timelimit callbacks errbacks utc headers root_id parent_id chain properties replaced_task_nesting"
)


def test_request_has_the_attributes_of_the_guide(side: Side, app: Any) -> None:
    @app.task(bind=True, time_limit=30, soft_time_limit=20)
    def shown(self: Any) -> Any:
        request = self.request
        missing = [name for name in ATTRIBUTES.split() if not hasattr(request, name)]
        return [missing, list(request.timelimit), request.correlation_id == request.id, "@" in request.origin]

    with side.worker(app):
        assert get(shown.delay()) == [[], [30, 20], True, True]


def test_representation_of_arguments_is_an_option_of_a_signature(side: Side, app: Any) -> None:
    @app.task(bind=True)
    def charge(self: Any, account: str, card: str) -> Any:
        return self.request.kwargsrepr

    with side.worker(app):
        signature = charge.s("a1", card="1234 5678").set(kwargsrepr=repr({"card": "**** 5678"}))
        assert get(signature.delay()) == "{'card': '**** 5678'}"


def test_started_task_tells_its_process(side: Side, app: Any) -> None:
    import os

    @app.task(bind=True, track_started=True)
    def started(self: Any) -> Any:
        stored = self.AsyncResult(self.request.id)
        return [stored.state, sorted(stored.info), stored.info["pid"] == os.getpid()]

    with side.worker(app):
        assert get(started.delay()) == ["STARTED", ["hostname", "pid"], True]


def test_output_of_a_task_goes_to_a_logger(side: Side, app: Any, caplog: pytest.LogCaptureFixture) -> None:
    import sys

    logger = logging.getLogger("documentation.of.tasks")

    @app.task(bind=True)
    def chatty(self: Any) -> str:
        old = sys.stdout, sys.stderr
        level = self.app.conf.worker_redirect_stdouts_level
        try:
            self.app.log.redirect_stdouts_to_logger(logger, level)
            print("Adding")  # what the logger gets
        finally:
            sys.stdout, sys.stderr = old
        return str(level)

    with caplog.at_level(logging.INFO, logger.name):
        assert chatty() == "WARNING"
    assert ("documentation.of.tasks", logging.WARNING, "Adding") in caplog.record_tuples


def test_group_is_unlocked_by_a_task_that_retries(side: Side, app: Any) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    @app.task
    def total(values: list[int]) -> int:
        return sum(values)

    @app.task(bind=True, max_retries=None)
    def unlock(self: Any, members: Any, body: Any) -> Any:
        group = side.module("result").result_from_tuple(members, app=app)
        if not group.ready():
            raise self.retry(countdown=0.05)
        with side.module("result").allow_join_result():
            return side.maybe_signature(body, app=app).delay(group.join()).id

    with side.worker(app):
        members = side.group(add.s(n, n) for n in range(3)).apply_async()
        task_id = get(unlock.delay(members.as_tuple(), total.s()))
        assert get(app.AsyncResult(task_id)) == 6
