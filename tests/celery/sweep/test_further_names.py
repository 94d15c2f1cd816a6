"""Names of Celery that programs and tests import though they aren't documented."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

PACKAGES = ("celery", "taskq_cloud.celery")
BOTH = pytest.mark.parametrize("package", PACKAGES)
NAMES = {
    "app.base": "App BUILTIN_FIXUPS Settings AppPickler pydantic_wrapper _after_fork_cleanup_app",
    "app.task": "extract_exec_options _reprtask EagerResult group",
    "app.trace": "successful_requests group AsyncResult Context _install_stack_protection",
    "_state": "push_current_task pop_current_task",
}


def _module(package: str, name: str) -> Any:
    return importlib.import_module(f"{package}.{name}")


def _app(package: str) -> Any:
    return importlib.import_module(package).Celery("shop", set_as_current=False, broker="memory://")


@BOTH
@pytest.mark.parametrize(("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()])
def test_name_is_in_its_module(package: str, module: str, name: str) -> None:
    assert hasattr(_module(package, module), name)


@pytest.mark.parametrize("module", ["app.base", "app.task"])
def test_name_that_is_nowhere_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match="nowhere"):
        _module(PACKAGES[1], module).nowhere


@BOTH
def test_options_of_calls_are_read_from_a_task(package: str) -> None:
    task = SimpleNamespace(queue="q", priority=3, expires=None, rate_limit="1/s", serializer="json")
    names = ("routing_key", "exchange", "expires", "delivery_mode", "compression", "time_limit", "soft_time_limit")
    assert _module(package, "app.task").extract_exec_options(task) == {
        **dict.fromkeys((*names, "immediate", "mandatory")),
        "queue": "q",
        "priority": 3,
        "serializer": "json",
    }


@BOTH
def test_class_of_a_task_is_shown(package: str) -> None:
    module, app = _module(package, "app.task"), _app(package)

    class Made(module.Task):  # type: ignore[misc, name-defined]
        name = "made"

    assert module._reprtask(Made) == "<unbound Made>"
    assert module._reprtask(Made, flags=["a", "b"]) == "<unbound Made (a, b)>"
    Made.bind(app)
    assert module._reprtask(Made).startswith("<class Made of ")


@BOTH
def test_task_is_put_on_and_taken_off_the_stack(package: str) -> None:
    state = _module(package, "_state")
    state.push_current_task("task")
    assert state.get_current_task() == "task"
    state.pop_current_task()
    assert state.get_current_task() is None


@BOTH
def test_application_is_told_of_forks(package: str, caplog: pytest.LogCaptureFixture) -> None:
    app, told = _app(package), list[Any]()

    def note(sender: Any = None, **_: Any) -> None:
        told.append(sender)

    app.on_after_fork.connect(note)
    clean = _module(package, "app.base")._after_fork_cleanup_app
    clean(app)
    assert told == [app]
    with caplog.at_level("INFO"):
        clean(SimpleNamespace())
    assert "after forker raised exception" in caplog.text


@BOTH
def test_tasks_are_discovered_by_the_methods_of_an_application(package: str) -> None:
    app, calls = _app(package), list[Any]()
    app.loader.autodiscover_tasks = lambda packages, related_name: calls.append((list(packages), related_name))
    app._fixups = [SimpleNamespace(autodiscover_tasks=lambda: ["found"])]
    app._autodiscover_tasks(["a"], "tasks")
    app._autodiscover_tasks(lambda: ["b"], "jobs")
    app._autodiscover_tasks(None, "tasks")
    assert calls == [(["a"], "tasks"), (["b"], "jobs"), (["found"], "tasks")]


@BOTH
def test_signature_becomes_an_entry_of_the_schedule(package: str) -> None:
    app = _app(package)
    key, entry = app._sig_to_periodic_task_entry(10, app.signature("add", (2,)), (1,), {"k": 3}, expires=5)
    assert key == "add(1, 2, k=3)"
    assert (entry["schedule"], entry["task"], tuple(entry["args"]), entry["kwargs"]) == (10, "add", (1, 2), {"k": 3})
    assert entry["options"] == {"expires": 5}


@BOTH
def test_function_with_models_is_wrapped(package: str) -> None:
    class Order(BaseModel):
        number: int

    def double(order: Order) -> Order:
        return Order(number=2 * order.number)

    double.__annotations__ = {"order": Order, "return": Order}
    wrapped = _module(package, "app.base").pydantic_wrapper(_app(package), double, "double")
    assert wrapped({"number": 2}) == {"number": 4}
    assert wrapped.__name__ == "double"
