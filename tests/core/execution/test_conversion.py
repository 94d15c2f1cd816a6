"""Arguments and values by type: ``typed=True``, and Celery's ``pydantic=True`` beside Celery itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import EncodeError as KombuEncodeError

from taskq_cloud import BoundTask, TaskQ, chain, group
from taskq_cloud.errors import ArgumentsInvalid, EncodeError, ImproperlyConfigured, ScheduleError
from taskq_cloud.testing import run_tasks
from tests.core.execution import converted_tasks
from tests.core.execution.converted_tasks import Admin, Colour, Photo, Size, User

TYPED = ("resize", "tag", "acount", "wrong", "unusable")
SIZE, PHOTO = Size(w=200, height=100), Photo("a.png", {"sea"}, date(2026, 5, 1))


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskQ]:
    broker = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/broker.db"
    made = TaskQ("shop", broker=broker, results="memory://")
    for name in TYPED:
        made.task(name=name, typed=True)(getattr(converted_tasks, name))
    yield made
    made.close()


def test_task_gets_what_its_caller_has_given(app: TaskQ) -> None:
    result = app.tasks["resize"].delay(
        SIZE, PHOTO, Colour.BLUE, 2, "4", wait=timedelta(minutes=2), folder=Path("a/b"), uploaded=date(2026, 5, 2)
    )
    run_tasks(app)
    assert result.get(timeout=1) == {
        "size": repr(SIZE),
        "photo": repr(PHOTO),
        "colour": "BLUE",
        "more": [2, 4],
        "wait": "datetime.timedelta(seconds=120)",
        "folder": "a/b",
        "taken": ["datetime.date(2026, 5, 2)"],
    }


def test_message_has_plain_json_for_callers_in_other_languages(app: TaskQ) -> None:
    app.tasks["tag"].delay(PHOTO, frozenset())
    (delivery,) = app.run(app.broker.receive("celery", 1, 0, 1))
    message = app.run(app.codec.open(delivery.body, "m", "celery", {}))
    assert list(message.args) == [{"key": "a.png", "tags": ["sea"], "taken": "2026-05-01"}, []]


def test_caller_may_give_plain_values(app: TaskQ) -> None:
    photo = {"key": "a.png", "tags": ["sea"]}
    by_task = app.tasks["tag"].delay(photo, ["sun"])
    by_name = app.send_task("tag", [photo, ["sun"]])
    run_tasks(app)
    for result in (by_task, by_name):
        value = result.get(timeout=1)
        assert (value["key"], sorted(value["tags"]), value["taken"]) == ("a.png", ["sea", "sun"], None)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        (({"w": 1}, PHOTO), {}, r"task resize: argument 'size' is not valid: \['height'\]: Field required"),
        (({"w": 1, "height": 0}, PHOTO), {}, r"argument 'size' is not valid: \['height'\]: Input should be greater"),
        ((SIZE, "a.png"), {}, "argument 'photo' is not valid: Input should be a dictionary or an instance of Photo"),
        ((SIZE, PHOTO, "green"), {}, "argument 'colour' is not valid: Input should be 'red' or 'blue'"),
        ((SIZE, PHOTO, "red", 3), {}, "argument 'more' is not valid: Value error, must be even"),
        ((SIZE, PHOTO), {"uploaded": "once"}, "argument 'taken' is not valid: Input should be a valid date"),
    ],
)
def test_argument_of_another_type_is_an_error_of_the_call(
    app: TaskQ, args: Any, kwargs: dict[str, Any], text: str
) -> None:
    with pytest.raises(ArgumentsInvalid, match=text):
        app.tasks["resize"].delay(*args, **kwargs)
    with pytest.raises(ArgumentsInvalid, match=text):
        app.tasks["resize"].apply(args, kwargs)
    depth = app.run(app.broker.depth("celery"))
    assert depth is not None
    assert depth.total == 0


def test_argument_of_another_type_from_elsewhere_is_the_tasks_failure(app: TaskQ) -> None:
    result = app.send_task("tag", [{"key": "a.png"}, []])
    run_tasks(app)
    with pytest.raises(ArgumentsInvalid, match=r"task tag: argument 'photo' is not valid: \['tags'\]: Field required"):
        result.get(timeout=1)


def test_value_that_does_not_fit_its_annotation_is_a_failure(app: TaskQ) -> None:
    result = app.tasks["wrong"].delay()
    run_tasks(app)
    with pytest.raises(EncodeError, match="the result of task wrong doesn't fit its annotation <class 'int'>"):
        result.get(timeout=1)


def test_value_that_does_not_fit_its_annotation_is_not_retried(app: TaskQ) -> None:
    runs: list[int] = []

    @app.task(name="counted", typed=True, autoretry_for=(Exception,), default_retry_delay=0)
    def counted() -> int:
        runs.append(1)
        return converted_tasks.wrong()

    result = counted.delay()
    run_tasks(app)
    assert (runs, result.state) == ([1], "FAILURE")


def test_argument_of_another_type_is_not_retried(app: TaskQ) -> None:
    app.task(name="tag", typed=True, autoretry_for=(Exception,), default_retry_delay=0)(converted_tasks.tag)
    result = app.send_task("tag", ["no photo", []])
    assert run_tasks(app) == 1
    with pytest.raises(ArgumentsInvalid, match="argument 'photo' is not valid"):
        result.get(timeout=1)


def test_task_that_calls_another_one_wrongly_is_retried(app: TaskQ) -> None:
    @app.task(name="calling", autoretry_for=(ArgumentsInvalid,), default_retry_delay=0, max_retries=1)
    def calling() -> None:
        app.tasks["tag"].delay("no photo", [])

    result = calling.delay()
    assert run_tasks(app) == 2
    assert result.state == "FAILURE"


def test_annotation_that_cannot_be_resolved_is_an_error_that_names_the_way_out(app: TaskQ) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task unusable: .*'Unknown' is not defined.*import the name"):
        app.tasks["unusable"].delay(1)


def test_chain_and_group_take_values_by_type(app: TaskQ) -> None:
    tag, count = app.tasks["tag"], app.tasks["acount"]
    chained: Any = chain(tag.s(PHOTO, {"sun"}), tag.s({"sand"})).delay()
    counted = (group(tag.si(PHOTO, {"a"}), tag.signature((PHOTO,), {"tags": {"b"}})) | count.s()).delay()
    run_tasks(app)
    assert sorted(chained.get(timeout=1)["tags"]) == ["sand", "sea", "sun"]
    assert counted.get(timeout=1) == 2


def test_items_of_map_starmap_and_chunks_are_converted(app: TaskQ) -> None:
    tag, count = app.tasks["tag"], app.tasks["acount"]
    other = Photo("b.png", {"sky"})
    mapped: Any = count.map([[PHOTO], [PHOTO, other]]).delay()
    starred: Any = tag.starmap([(PHOTO, frozenset({"a"})), (other, {"b"})]).delay()
    chunked = tag.chunks([(PHOTO, {"a"}), (other, {"b"})], 1).delay()
    named: Any = app.signature("tag", ({"c"},)).clone((PHOTO,)).delay()
    run_tasks(app)
    assert mapped.get(timeout=1) == [1, 2]
    assert [(each["key"], sorted(each["tags"])) for each in starred.get(timeout=1)] == [
        ("a.png", ["a", "sea"]),
        ("b.png", ["b", "sky"]),
    ]
    assert [[each["key"] for each in part] for part in chunked.get(timeout=1)] == [["a.png"], ["b.png"]]
    assert sorted(named.get(timeout=1)["tags"]) == ["c", "sea"]


def test_wrong_item_of_map_is_a_failure_that_names_the_argument(app: TaskQ) -> None:
    result: Any = app.tasks["acount"].map([["no photo"]]).delay()
    run_tasks(app)
    with pytest.raises(ArgumentsInvalid, match="task acount: argument 'photos' is not valid"):
        result.get(timeout=1)


def test_further_arguments_of_a_signature_are_converted(app: TaskQ) -> None:
    tag = app.tasks["tag"]
    results: list[Any] = [
        tag.s({"b"}).clone((PHOTO,)).delay(),
        tag.s({"b"}).delay(PHOTO),
        tag.s().apply_async((PHOTO,), {"tags": {"b"}}),
        tag.s(1, 2).replace((PHOTO, {"b"})).delay(),
    ]
    run_tasks(app)
    assert [sorted(each.get(timeout=1)["tags"]) for each in results] == [["b", "sea"]] * 4


def test_arguments_of_a_periodic_task_are_converted_and_validated(app: TaskQ) -> None:
    app.add_periodic_task(60, app.tasks["tag"], (PHOTO,), {"tags": {"a"}}, name="first")
    app.task(name="each", typed=True, every=timedelta(minutes=1), args=(PHOTO, {"a"}))(converted_tasks.tag)
    first, second = sorted(app.schedule_entries(), key=lambda each: each.task, reverse=True)
    plain = {"key": "a.png", "tags": ["sea"], "taken": "2026-05-01"}
    assert (list(first.args), first.kwargs) == ([plain], {"tags": ["a"]})
    assert list(second.args) == [plain, ["a"]]
    app.add_periodic_task(60, app.tasks["tag"], ("no photo", []), name="wrong")
    with pytest.raises(ScheduleError, match="'wrong': task tag: argument 'photo' is not valid"):
        app.schedule_entries()


def test_retry_takes_new_arguments_by_type(app: TaskQ) -> None:
    @app.task(name="again", bind=True, typed=True)
    def again(self: BoundTask, photo: Photo) -> str:
        if not self.request.retries:
            self.retry(args=(Photo("b.png", {"new"}),), countdown=0)
        return repr(photo)

    result = again.delay(PHOTO)
    run_tasks(app)
    assert result.get(timeout=1) == repr(Photo("b.png", {"new"}))


def test_errback_of_typed_task_gets_the_request(app: TaskQ) -> None:
    heard: list[Any] = []

    @app.task(name="heard")
    def on_error(request: Any, exc: Exception, traceback: str) -> None:
        heard.append((list(request.args), type(exc)))

    app.tasks["wrong"].s().link_error(on_error.s()).delay()
    run_tasks(app)
    assert heard == [([], EncodeError)]


def test_two_kinds_of_conversion_exclude_each_other() -> None:
    with pytest.raises(ImproperlyConfigured, match="typed=True and pydantic=True exclude each other"):
        TaskQ("shop").task(name="both", typed=True, pydantic=True)(print)


# -- pydantic=True beside Celery

ANN, BOB = User(name="ann", born=date(1990, 2, 3)), User(name="bob")
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("greet", (ANN,), {}),
    ("greet", (ANN, BOB), {"plain": "x"}),
    ("greet", (), {"user": ANN, "other": None}),
    ("greet", ({"name": "ann", "born": "1990-02-03"},), {}),
    ("greet", (Admin(name="root", level=3),), {}),
    ("greet", ({"nom": "ann"},), {}),
    ("greet", ({"name": 5},), {}),
    ("greet", ({"name": "ann"}, {"name": "bob"}), {}),
    ("greet", ("ann",), {}),
    ("maybe", (None,), {}),
    ("maybe", (ANN,), {}),
]


def outcome_of(app: Any, task: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
    """The value of an eager call; or the type of its error, and which side has raised it."""
    try:
        result = app.tasks[task].apply_async(args, kwargs)
    except (EncodeError, KombuEncodeError):
        return "call", "EncodeError"
    if result.state == "SUCCESS":
        return "value", result.get()
    return "task", type(result.result).__name__


@pytest.mark.parametrize("options", [{}, {"pydantic_strict": True}, {"pydantic_dump_kwargs": {"exclude_unset": True}}])
@pytest.mark.parametrize(("task", "args", "kwargs"), CALLS)
def test_models_are_converted_as_in_celery(
    task: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> None:
    function = getattr(converted_tasks, task)
    context = {"pydantic_context": {"who": "context"}}
    theirs = Celery("shop", broker="memory://", set_as_current=False)
    theirs.conf.task_always_eager = True
    theirs.task(name=task, shared=False, pydantic=True, **options, **context)(function)
    ours = TaskQ("shop", broker="memory://", results="memory://", task_always_eager=True)
    declare: Any = ours.task
    declare(name=task, pydantic=True, **options, **context)(function)
    expected = outcome_of(theirs, task, args, kwargs)
    theirs.close()
    assert outcome_of(ours, task, args, kwargs) == expected


def test_returned_model_of_another_type_than_the_annotation_cannot_be_stored() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")
    unlike = app.task(name="unlike", pydantic=True)(converted_tasks.unlike)
    result = unlike.delay(ANN)
    run_tasks(app)
    with pytest.raises(EncodeError, match="the result of task unlike"):
        result.get(timeout=1)


def test_failed_validation_reaches_the_caller_from_a_worker() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")
    app.task(name="greet", pydantic=True)(converted_tasks.greet)
    result = app.send_task("greet", [{"nom": "ann"}])
    run_tasks(app)
    assert result.state == "FAILURE"
    with pytest.raises(Exception, match=r"1 validation error for User[\s\S]*Field required"):
        result.get(timeout=1)
