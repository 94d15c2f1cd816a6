"""Tasks are declared once, whichever thread uses them first, and discovery keeps each of its requests."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.celery import Celery
from taskq_cloud.celery.local import PromiseProxy

THREADS = 8


def _in_threads(use: Any) -> tuple[list[Any], list[BaseException]]:
    """Call a function in several threads at the same moment; return the values and the errors."""
    values: list[Any] = []
    errors: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def work() -> None:
        start.wait()
        try:
            values.append(use())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return values, errors


def test_promise_that_several_threads_use_first_is_made_once() -> None:
    made: list[object] = []
    inside = threading.Event()

    def make() -> object:
        made.append(object())
        inside.wait(0.2)  # gives the other threads time to ask for the object, too
        return made[-1]

    promise = PromiseProxy(make)
    values, errors = _in_threads(promise._get_current_object)
    assert (errors, len(made)) == ([], 1)
    assert {id(value) for value in values} == {id(made[0])}


def test_callbacks_of_a_promise_run_once_if_several_threads_use_it_first() -> None:
    called: list[str] = []
    promise = PromiseProxy(object)
    promise.__then__(called.append, "done")
    _, errors = _in_threads(promise._get_current_object)
    assert (errors, called) == ([], ["done"])


def test_promise_whose_maker_uses_it_is_made() -> None:
    made: list[Any] = []

    def make() -> str:
        if not made:
            made.append(None)
            made.append(promise._get_current_object())
        return "made"

    promise = PromiseProxy(make)
    assert promise._get_current_object() == "made"
    assert made == [None, "made"]


def test_task_that_several_threads_use_first_is_one_task() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for attempt in range(20):
            app: Any = Celery("shop", set_as_current=False, broker="memory://")

            @app.task(name=f"shop.task{attempt}", shared=False)
            def task() -> None:
                """Do nothing."""

            values, errors = _in_threads(lambda task=task: task._get_current_object())
            assert errors == []
            assert len({id(value) for value in values}) == 1
            app.close()
    finally:
        sys.setswitchinterval(before)


def test_task_and_finalization_in_two_threads_do_not_wait_for_each_other() -> None:
    app: Any = Celery("shop", set_as_current=False, broker="memory://")
    finalizing = threading.Event()

    class Bound(app.Task):
        abstract = True

        @classmethod
        def on_bound(cls, app: Any) -> None:
            finalizing.wait(0.2)
            assert app.tasks is not None  # which finalizes the application

    @app.task(base=Bound, name="shop.slow", shared=False)
    def slow() -> None:
        """Do nothing."""

    uses = [lambda: slow.name, app.finalize]
    threads = [threading.Thread(target=use, daemon=True) for use in uses]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert [each.is_alive() for each in threads] == [False, False]
    app.close()


def test_discovery_of_two_names_in_one_list_of_packages_imports_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "discovered_twice"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("tasks", "jobs"):
        (package / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    app: Any = Celery("shop", set_as_current=False, broker="memory://")
    app.autodiscover_tasks(["discovered_twice"])
    app.autodiscover_tasks(["discovered_twice"], related_name="jobs")
    app.loader.import_default_modules()
    assert {"discovered_twice.tasks", "discovered_twice.jobs"} <= app.loader.task_modules
    app.close()
