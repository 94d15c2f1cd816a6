"""Options that Celery doesn't have: which attributes of a task are such options, and that each has its effect."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud.celery import Celery, Task
from taskq_cloud.celery.native import definition
from taskq_cloud.errors import ImproperlyConfigured


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(definition, "_warned", set())
    made = Celery("shop", set_as_current=False, broker="memory://", backend="cache+memory://")
    yield made
    made.close()


def _options(task: Any) -> Any:
    return task.definition.options


NATIVE = {
    "memory_mb": 512,
    "once": True,
    "rate_key": "{tenant}",
    "rate_limit_burst": 30,
    "rate_limit_scope": "worker",
    "runtime": "container",
    "typed": True,
}


def _declared(app: Any, how: str, options: dict[str, Any]) -> Any:
    given: dict[str, Any] = {"name": "shop.mail", "shared": False, "time_limit": 10, "rate_limit": "5/s"}
    if how == "decorator":
        given |= options
    elif how == "taskq_options":
        given["taskq_options"] = options
    elif how == "base":
        given["base"] = type("Mail", (app.Task,), {"abstract": True, "taskq_options": options})

    @app.task(**given)
    def mail(tenant: str) -> None:
        """Do nothing."""

    if how == "task":
        mail.taskq_options = options
    return mail


@pytest.mark.parametrize("how", ["decorator", "taskq_options", "base", "task"])
@pytest.mark.parametrize("name", sorted(definition.NATIVE_ONLY))
def test_native_option_reaches_the_definition(app: Any, how: str, name: str) -> None:
    task = _declared(app, how, {name: NATIVE[name]})
    assert getattr(_options(task), name) == NATIVE[name]


def test_options_of_base_and_decorator_are_joined(app: Any) -> None:
    base = type("Mail", (app.Task,), {"abstract": True, "taskq_options": {"memory_mb": 512, "runtime": "container"}})

    @app.task(base=base, shared=False, taskq_options={"memory_mb": 1024})
    def mail() -> None:
        """Do nothing."""

    assert (_options(mail).memory_mb, _options(mail).runtime) == (1024, "container")


@pytest.mark.parametrize(
    ("options", "error"),
    [({"memory": 5}, "unknown option 'memory'"), ({"memory_mb": "much"}, "memory_mb"), (["once"], "must be a mapping")],
)
def test_wrong_taskq_options_are_refused(app: Any, options: Any, error: str) -> None:
    task = _declared(app, "taskq_options", options)
    with pytest.raises(ImproperlyConfigured, match=error):
        _ = task.definition


def test_own_attributes_of_a_base_class_are_no_options(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    class QueueOnce(app.Task):
        abstract = True
        once = {"graceful": False}
        typed = property(lambda self: True)
        rate_key = None

        def runtime(self) -> str:
            return "mine"

    @app.task(base=QueueOnce, once={"graceful": True}, shared=False, name="shop.once")
    def task() -> None:
        """Do nothing."""

    with caplog.at_level(logging.WARNING):
        options = _options(task)
    assert (options.once, options.runtime, options.typed, options.rate_key) == (False, "auto", False, None)
    assert task.once == {"graceful": True}
    assert task.runtime() == "mine"
    assert caplog.messages == []


def test_argument_that_a_base_class_has_as_an_attribute_is_its_own(app: Any) -> None:
    base = type("Once", (app.Task,), {"abstract": True, "once": False})

    @app.task(base=base, once=True, shared=False)
    def task() -> None:
        """Do nothing."""

    assert not _options(task).once  # and isn't refused for want of a time limit


@pytest.mark.parametrize("how", ["class body", "decorator"])
def test_attribute_that_may_be_meant_as_an_option_is_warned_of_once(
    app: Any, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    value: Any = 512 if how == "class body" else "512"
    base = type(
        "Big", (app.Task,), {"abstract": True, "memory_mb": value} if how == "class body" else {"abstract": True}
    )
    given = {} if how == "class body" else {"memory_mb": value}
    for name in ("shop.one", "shop.two"):

        @app.task(base=base, shared=False, name=name, **given)
        def task() -> None:
            """Do nothing."""

        assert _options(task).memory_mb is None
    assert [each.split(":")[0] for each in caplog.messages] == ["task shop.one"]
    assert "taskq_options={'memory_mb': ...}" in caplog.text


def test_registered_task_takes_native_options_of_its_registration(app: Any) -> None:
    class Mail(app.Task):
        name = "shop.mail"

        def run(self) -> None:
            """Do nothing."""

    assert _options(app.register_task(Mail(), memory_mb=256)).memory_mb == 256


def test_rate_limit_of_a_worker_needs_no_store(app: Any) -> None:
    @app.task(rate_limit="5/s", rate_limit_scope="worker", shared=False)
    def task() -> None:
        """Do nothing."""

    app.conf.result_backend = None
    assert app.native.runtime().tasks[task.name].options.rate_limit_scope == "worker"


def test_rate_limit_of_all_workers_needs_a_store_that_keeps_rates(app: Any) -> None:
    @app.task(rate_limit="5/s", shared=False, name="shop.limited")
    def task() -> None:
        """Do nothing."""

    app.conf.result_backend = None
    with pytest.raises(ImproperlyConfigured, match=r"shop\.limited.*rate_limit_scope"):
        app.native.runtime()


def test_annotations_can_have_native_options(app: Any) -> None:
    app.conf.task_annotations = {"shop.big": {"taskq_options": {"memory_mb": 2048}}}

    @app.task(shared=False, name="shop.big")
    def task() -> None:
        """Do nothing."""

    assert _options(task).memory_mb == 2048


def test_annotations_apply_though_the_base_class_is_bound(app: Any) -> None:
    class Base(Task):
        name = "shop.base"

    Base.bind(Celery("other", set_as_current=False))
    app.conf.task_annotations = {"*": {"rate_limit": "3/s"}}

    @app.task(shared=False, base=Base, name="shop.annotated")
    def task() -> None:
        """Do nothing."""

    assert task.rate_limit == "3/s"
    assert task.request_stack is not Base.request_stack
