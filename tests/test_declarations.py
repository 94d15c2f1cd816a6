"""What a declaration takes, every worker can run: names, signatures, wrappers, limits and retries."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from taskq_cloud import BoundTask, Retry, TaskQ, chain, current_request, group
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import Invocation, Outcome, Succeeded
from taskq_cloud.errors import AlreadyRegistered, ImproperlyConfigured, OptionError
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.threads import ThreadPool
from taskq_cloud.testing.bench import Bench


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://", results="memory://")
    yield app
    app.close()


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator whose wrapper is a plain function, whatever it wraps."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def unnamed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that doesn't keep the name of its function."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


# -- names


def test_second_task_of_a_factory_is_refused_and_the_first_stays(app: TaskQ) -> None:
    def make(factor: int) -> Any:
        @app.task
        def times(number: int) -> int:
            return factor * number

        return times

    double = make(2)
    with pytest.raises(AlreadyRegistered, match=r"task '.*\.times' is already .*make.*times; give one of the two"):
        make(3)
    bench, result = Bench.of(app), double.delay(10)
    bench.work()
    assert result.get(timeout=1) == 20


def test_second_function_under_one_wrapper_is_refused(app: TaskQ) -> None:
    def first() -> int:
        return 1

    def second() -> int:
        return 2

    app.task(unnamed(first))
    with pytest.raises(AlreadyRegistered):
        app.task(unnamed(second))
    with pytest.raises(AlreadyRegistered):
        app.task(name="shop.same")(plain(first)) and app.task(name="shop.same")(plain(second))


def test_one_function_may_be_declared_twice(app: TaskQ) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    assert app.task(add).name == app.task(add).name
    assert app.task(name="shop.add", priority=3)(add).options.priority == 3


def test_one_method_of_one_object_may_be_declared_twice(app: TaskQ) -> None:
    class Till:
        def pay(self) -> int:
            return 1

    till = Till()
    app.task(name="shop.pay")(till.pay)
    assert app.task(name="shop.pay", priority=3)(till.pay).options.priority == 3
    with pytest.raises(AlreadyRegistered):
        app.task(name="shop.pay")(Till().pay)


@pytest.mark.parametrize(
    "name", ["celery.chain", "celery.group", "celery.chord", "celery.chunks", "celery.map", "taskq.fan_out"]
)
def test_name_of_a_built_in_task_is_refused(app: TaskQ, name: str) -> None:
    with pytest.raises(AlreadyRegistered):
        app.task(name=name)(lambda: 1)


@pytest.mark.parametrize("name", [5, "a\0b", "two\nlines", "\ud800", b"shop.pay"])
def test_name_that_no_message_can_carry_is_refused(app: TaskQ, name: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="the name of a task must be a name"):
        app.task(name=name)(lambda: 1)
    with pytest.raises(TypeError, match="name of a task"):
        app.send_task(name)
    with pytest.raises(TypeError, match=r"name of a task|takes signatures"):
        app.signature(name)


def test_keyword_arguments_without_a_name_are_refused(app: TaskQ) -> None:
    with pytest.raises(TypeError, match=r"task shop\.pay: kwargs must have texts as its keys, not 1"):
        app.send_task("shop.pay", (), {1: 2})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"task shop\.pay: kwargs must have texts as its keys, not 1"):
        app.signature("shop.pay", (), {1: 2})  # type: ignore[dict-item]


# -- signatures


def test_bound_function_of_any_arguments_is_called_with_any(app: TaskQ) -> None:
    @app.task(bind=True)
    def anything(*args: Any, **kwargs: Any) -> list[Any]:
        return [args[0].name, list(args[1:]), kwargs]

    bench, result = Bench.of(app), anything.delay(1, 2, three=3)
    bench.work()
    assert result.get(timeout=1) == [anything.name, [1, 2], {"three": 3}]


def test_bound_function_with_positional_only_self_is_checked_without_it(app: TaskQ) -> None:
    @app.task(bind=True)
    def pay(self: BoundTask, /, amount: int) -> int:
        return amount

    with pytest.raises(TypeError, match="missing a required argument: 'amount'"):
        pay.delay()  # type: ignore[call-arg]
    bench, result = Bench.of(app), pay.delay(amount=3)
    bench.work()
    assert result.get(timeout=1) == 3


@pytest.mark.parametrize("function", [lambda: 1, lambda *, amount: amount, lambda **kwargs: kwargs])
def test_bound_function_without_a_parameter_for_self_is_refused(app: TaskQ, function: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task shop\.pay: with bind=True .* add the parameter self"):
        app.task(name="shop.pay", bind=True)(function)


def test_builtin_without_a_signature_is_a_task(app: TaskQ) -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(max)
    bench, result = Bench.of(app), app.task(name="shop.max")(max).delay(1, 3, 2)
    bench.work()
    assert result.get(timeout=1) == 3


def test_rate_key_of_a_bound_function_reads_its_own_arguments(app: TaskQ) -> None:
    @app.task(bind=True, rate_limit="100/s", rate_key="{tenant}")
    def mail(*args: Any, tenant: str) -> str:
        return tenant

    bench, result = Bench.of(app), mail.delay(1, tenant="acme")
    bench.work()
    assert result.get(timeout=1) == "acme"


# -- functions whose body doesn't run when they are called


def test_generator_function_is_refused(app: TaskQ) -> None:
    def rows() -> Iterator[int]:
        yield 1

    async def arows() -> Any:
        yield 1

    for function in (rows, arows):
        with pytest.raises(ImproperlyConfigured, match=r"is a generator function, .*: return a list"):
            app.task(function)


async def _run_in(kind: str, app: TaskQ, invocation: Invocation) -> Outcome:
    if kind == "solo":
        return await asyncio.to_thread(app.runner.run, invocation)
    pool: Any = (ThreadPool if kind == "threads" else AsyncioPool)(app.runner, 2)
    await pool.start()
    try:
        outcome: Outcome = await pool.run(invocation)
        return outcome
    finally:
        await pool.stop()


@pytest.mark.parametrize("kind", ["solo", "threads", "asyncio"])
@pytest.mark.parametrize("wrap", [plain, unnamed, lambda function: plain(plain(function))])
async def test_coroutine_function_under_a_plain_wrapper_runs(app: TaskQ, kind: str, wrap: Any) -> None:
    async def whose() -> str:
        await asyncio.sleep(0)
        request = current_request()
        return "nobody's" if request is None else request.id

    app.task(name="shop.whose")(wrap(whose))
    for task_id in ("first", "second"):  # the second run knows what the first one has returned
        invocation = Invocation(message=Message(task="shop.whose", id=task_id), queue="celery")
        assert await _run_in(kind, app, invocation) == Succeeded(f'"{task_id}"')


async def test_wrapper_that_runs_its_own_loop_still_does(app: TaskQ) -> None:
    async def slow() -> int:
        await asyncio.sleep(0)
        return 5

    @app.task(name="shop.slow")
    @functools.wraps(slow)
    def wrapper() -> int:
        return asyncio.run(slow())

    invocation = Invocation(message=Message(task="shop.slow", id="t-1"), queue="celery")
    for kind in ("threads", "asyncio"):
        assert await _run_in(kind, app, invocation) == Succeeded("5")


def test_wrapped_coroutine_function_runs_in_place_with_and_without_a_loop(app: TaskQ) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    task = app.task(name="shop.double")(plain(double))

    async def within() -> Any:
        return task.apply((4,)).get()

    assert asyncio.run(within()) == 8
    assert task.apply((4,)).get() == 8
    assert task.map([1, 2]).apply().get() == [2, 4]


# -- limits


def test_time_limit_as_a_timedelta_reaches_the_run_as_seconds(app: TaskQ) -> None:
    @app.task(bind=True, time_limit=timedelta(minutes=5), soft_time_limit=timedelta(minutes=4))
    def limits(self: BoundTask) -> list[float | None]:
        return list(self.request.timelimit)

    bench = Bench.of(app)
    own, called = limits.delay(), limits.apply_async(time_limit=timedelta(seconds=9), soft_time_limit=8)
    signature = limits.s().set(time_limit=timedelta(seconds=7)).apply_async()
    bench.work()
    assert own.get(timeout=1) == [300, 240]
    assert called.get(timeout=1) == [9, 8]
    assert signature.get(timeout=1) == [7, 240]


# -- retries


class Retries:
    """A task that asks for one retry, and what its runs were given."""

    def __init__(self, app: TaskQ, ask: Callable[..., object], **options: Any) -> None:
        self.runs: list[dict[str, Any]] = []
        self.bench = Bench.of(app)

        @app.task(name="shop.pay", bind=True, **options)
        def pay(self_: BoundTask, x: int, y: int = 0) -> int:
            request = self_.request
            self.runs.append({"x": x, "y": y, "queue": request.delivery_info["routing_key"], "request": request})
            if request.retries == 0:
                ask(self_)
            return x + y

        self.task = pay

    def result_of(self, *args: Any, **kwargs: Any) -> Any:
        result = self.task.delay(*args, **kwargs)
        for queue in ("celery", "slow"):
            self.bench.drain(queue)
        return result.get(timeout=1)


def test_keyword_of_a_retry_replaces_the_positional_argument(app: TaskQ) -> None:
    retries = Retries(app, lambda task: task.retry(kwargs={"x": 2, "y": 5}, countdown=0))
    assert retries.result_of(1) == 7
    assert [(run["x"], run["y"]) for run in retries.runs] == [(1, 0), (2, 5)]


def test_raised_retry_takes_new_arguments_like_a_called_one(app: TaskQ) -> None:
    def ask(task: BoundTask) -> None:
        raise Retry(when=timedelta(seconds=1), kwargs={"x": 4}, exc=ValueError, options={"queue": "slow"})

    retries = Retries(app, ask)
    assert retries.result_of(1, 2) == 6
    assert [run["queue"] for run in retries.runs] == ["celery", "slow"]


def test_arguments_of_a_retry_that_do_not_fit_are_told_with_the_cause(app: TaskQ) -> None:
    def ask(task: BoundTask) -> None:
        try:
            raise LookupError("no such order")
        except LookupError as error:
            task.retry(args=(1, 2, 3), exc=error)

    retries = Retries(app, ask)
    result = retries.task.delay(1)
    retries.bench.drain()
    with pytest.raises(
        TypeError, match=r"task shop\.pay\(x.*: the arguments of its retry don't fit: too many positional"
    ):
        result.get(timeout=1)
    assert "LookupError: no such order" in str(result.traceback)


def test_retry_takes_the_class_of_an_exception(app: TaskQ) -> None:
    retries = Retries(app, lambda task: task.retry(exc=ValueError, countdown=0))
    assert retries.result_of(1) == 1


def test_class_of_an_exception_is_raised_when_no_retry_is_left(app: TaskQ) -> None:
    class Strict(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(code)

    retries = Retries(app, lambda task: task.retry(exc=Strict), max_retries=0)
    result = retries.task.delay(1)
    retries.bench.drain()
    assert (result.state, retries.runs[0]["request"].retries) == ("FAILURE", 0)
    assert "Strict" in str(result.traceback)


def test_retry_changes_the_options_of_the_next_run(app: TaskQ) -> None:
    retries = Retries(
        app,
        lambda task: task.retry(
            queue="slow",
            countdown=timedelta(seconds=1),
            priority=7,
            time_limit=timedelta(minutes=1),
            headers={"tenant": "acme"},
            shadow="slow pay",
            expires=timedelta(days=1),
        ),
    )
    assert retries.result_of(1) == 1
    first, second = (run["request"] for run in retries.runs)
    assert (retries.runs[1]["queue"], second.timelimit, second.headers["tenant"]) == ("slow", (60, None), "acme")
    assert (second.shadow, second.options["priority"]) == ("slow pay", 7)
    assert first.expires is None
    assert second.expires is not None


def test_automatic_retry_has_the_arguments_of_retry_kwargs(app: TaskQ) -> None:
    def ask(task: BoundTask) -> None:
        raise OSError("busy")

    retries = Retries(
        app, ask, autoretry_for=OSError, retry_kwargs={"queue": "slow", "countdown": timedelta(seconds=1)}
    )
    assert retries.result_of(1) == 1
    assert [run["queue"] for run in retries.runs] == ["celery", "slow"]


def test_retry_that_is_returned_is_raised_by_the_task(app: TaskQ) -> None:
    def ask(task: BoundTask) -> None:
        raise task.retry(throw=False, countdown=0)

    retries = Retries(app, ask)
    assert retries.result_of(1) == 1
    assert len(retries.runs) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"countdown": "5"}, "countdown must be a number of seconds"),
        ({"max_retries": "3"}, "max_retries must be a whole number"),
        ({"eta": 5}, "eta must be a datetime"),
        ({"queue": 5}, "queue must be a name"),
        ({"priorty": 5}, "unknown argument 'priorty' of a retry; known: MessageGroupId"),
        ({"task_id": "x"}, "unknown argument 'task_id'"),
        ({"headers": {"id": "x"}}, "header 'id' is one of the protocol's own"),
        ({"args": 5}, "args must be a list or tuple"),
        ({"kwargs": {1: 2}}, "kwargs a mapping of names to values"),
    ],
)
def test_impossible_argument_of_a_retry_is_told_with_the_tasks_own_error(
    app: TaskQ, arguments: Any, words: str
) -> None:
    def ask(task: BoundTask) -> None:
        try:
            raise LookupError("no such order")
        except LookupError as error:
            task.retry(exc=error, **arguments)

    retries = Retries(app, ask)
    result = retries.task.delay(1)
    retries.bench.drain()
    with pytest.raises(OptionError, match=rf"task shop\.pay: retry.*{words}"):
        result.get(timeout=1)
    assert "LookupError: no such order" in str(result.traceback)


# -- workflows


@pytest.mark.parametrize("nothing", [group(), group(group()), chain(), chain(group(), chain())])
def test_arguments_and_options_of_a_chain_go_past_its_empty_parts(app: TaskQ, nothing: Any) -> None:
    @app.task(name="shop.add")
    def add(a: int, b: int) -> int:
        return a + b

    bench = Bench.of(app)
    first, joined = chain(nothing, add.s(10)).delay(1), (nothing | add.s(10)).delay(2)
    last = chain(add.s(1, 2), nothing).apply_async(task_id="last", link=add.s(5).set(task_id="linked"))
    limited = chain(nothing, add.s(1, 2)).set(queue="slow").apply_async()
    bench.drain()
    assert (first.get(timeout=1), joined.get(timeout=1)) == (11, 12)
    assert (last.id, last.get(timeout=1), app.AsyncResult("linked").get(timeout=1)) == ("last", 3, 8)
    bench.drain("slow")
    assert limited.get(timeout=1) == 3
