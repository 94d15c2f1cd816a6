"""Constructs of the guide "Application": names, configuration, laziness, abstract tasks and the current application."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


def test_application_shows_its_name_and_its_tasks(side: Side) -> None:
    app = side.app("shop")

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert repr(app).startswith("<Celery shop at 0x")
    assert add.name == f"{__name__}.add"
    assert app.tasks[f"{__name__}.add"]
    assert repr(add).startswith(f"<@task: {__name__}.add of shop at 0x")


def test_module_that_is_run_as_a_program_is_named_by_main(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    app = side.app("tasks")

    def add(x: int, y: int) -> int:
        return x + y

    monkeypatch.setattr(add, "__module__", "__main__")
    assert app.task(add).name == "tasks.add"


def test_settings_are_attributes_and_updates(side: Side) -> None:
    app = side.app()
    assert app.conf.timezone is None
    app.conf.timezone = "Europe/London"
    app.conf.update(enable_utc=True, timezone="Europe/Oslo")
    assert (app.conf.enable_utc, app.conf.timezone) == (True, "Europe/Oslo")
    app.conf.task_queues = []
    assert app.conf["task_queues"] == []


def test_settings_come_from_a_class_a_module_and_a_name(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        enable_utc = False
        timezone = "Europe/Paris"

    module = types.ModuleType("config_of_application")
    vars(module).update(enable_utc=True, timezone="Europe/Rome")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for given, zone in ((Config, "Europe/Paris"), (module, "Europe/Rome"), (module.__name__, "Europe/Rome")):
        app = side.app()
        app.config_from_object(given)
        assert app.conf.timezone == zone


def test_settings_come_from_an_environment_variable(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("config_of_environment")
    module.timezone = "Asia/Tokyo"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("SHOP_CONFIG_MODULE", module.__name__)
    app = side.app()
    app.config_from_envvar("SHOP_CONFIG_MODULE")
    assert app.conf.timezone == "Asia/Tokyo"
    with pytest.raises(side.module("exceptions").ImproperlyConfigured):
        side.app().config_from_envvar("NO_SUCH_CONFIG_MODULE")


def test_old_and_prefixed_names_are_read(side: Side) -> None:
    app = side.app()
    app.config_from_object({"CELERY_TASK_ALWAYS_EAGER": True, "CELERY_TIMEZONE": "UTC"}, namespace="CELERY")
    assert (app.conf.task_always_eager, app.conf.timezone) == (True, "UTC")
    old = side.app()
    old.config_from_object({"CELERY_ALWAYS_EAGER": True})
    assert old.conf.task_always_eager is True


def test_secrets_are_censored(side: Side) -> None:
    app = side.app()
    app.conf.update(security_key="the key", timezone="UTC")
    shown = app.conf.humanize(with_defaults=False, censored=True)
    assert "the key" not in shown
    assert "********" in shown
    assert "UTC" in shown
    assert app.conf.table(with_defaults=False, censored=True)["security_key"] == "********"


def test_tasks_are_lazy_until_they_are_used(side: Side) -> None:
    app = side.app()

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert not app.finalized
    assert add.__evaluated__() is False
    assert repr(add)
    assert add.__evaluated__() is True
    app.finalize()
    assert app.finalized


def test_finalized_application_takes_further_tasks(side: Side) -> None:
    app = side.app()
    app.finalize()

    @app.task(name="shop.late")
    def late() -> str:
        return "late"

    assert app.tasks["shop.late"]() == "late"


def test_base_class_of_all_tasks_can_be_replaced(side: Side) -> None:
    class Logged(side.Task):  # type: ignore[name-defined]
        abstract = True
        calls: list[Any] = []  # Celery's style of a class attribute

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.calls.append(args)
            return super().__call__(*args, **kwargs)

    app = side.app()
    app.Task = Logged

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert isinstance(add, Logged)
    assert add(1, 2) == 3
    with side.worker(app):
        assert get(add.delay(3, 4)) == 7
    assert Logged.calls[:2] == [(1, 2), (3, 4)]
    assert app.Task.__mro__[1] in {Logged, side.Task}


def test_task_class_can_be_given_to_an_application(side: Side) -> None:
    class Marked(side.Task):  # type: ignore[name-defined]
        mark = "of the application"

    app = side.app(task_cls=Marked)

    @app.task
    def marked() -> None:
        return None

    assert marked.mark == "of the application"


def test_base_class_of_one_task_is_an_option(side: Side) -> None:
    class Debug(side.Task):  # type: ignore[name-defined]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "debugged", self.run(*args, **kwargs)

    app = side.app()

    @app.task(base=Debug)
    def add(x: int, y: int) -> int:
        return x + y

    assert add(2, 2) == ("debugged", 4)


def test_current_application_is_the_newest_that_was_set(side: Side) -> None:
    app = side.app()
    app.set_current()
    assert side.current_app._get_current_object() is app
    app.set_default()
    assert side.module("app").app_or_default() is app
    other = side.app()
    assert side.module("app").app_or_default(other) is other


def test_shared_task_belongs_to_every_application(side: Side) -> None:
    @side.shared_task(name="shop.shared")
    def add(x: int, y: int) -> int:
        return x + y

    first, second = side.app("first"), side.app("second")
    assert first.tasks["shop.shared"] is not second.tasks["shop.shared"]
    first.set_current()
    assert add.app is first
    assert add(1, 2) == 3


def test_application_can_be_closed_by_a_with_statement(side: Side) -> None:
    with side.Celery("short", set_as_current=False, broker="memory://") as app:
        assert app.main == "short"
        assert app.tasks["celery.backend_cleanup"]


def test_signals_of_an_application_are_sent_once(side: Side) -> None:
    app, told = side.app(), []

    @app.on_after_configure.connect
    def configured(sender: Any, **kwargs: Any) -> None:
        told.append(("configured", sender is app))

    @app.on_after_finalize.connect
    def finalized(sender: Any, **kwargs: Any) -> None:
        told.append(("finalized", sender is app))

    assert app.conf.task_serializer == "json"
    app.finalize()
    app.finalize()
    assert told.count(("finalized", True)) == 1
    assert told.count(("configured", True)) == 1


def test_breaking_the_chain_by_passing_the_application(side: Side) -> None:
    class Scheduler:
        def __init__(self, app: Any = None) -> None:
            self.app = app or side.module("app").app_or_default()

    app = side.app()
    assert Scheduler(app=app).app is app
