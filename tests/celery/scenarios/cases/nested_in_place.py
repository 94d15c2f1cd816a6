"""Workflows that are nested at random and run in place: ``apply``, and ``task_always_eager``."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.celery.scenarios.cases import nested_on_worker
from tests.celery.scenarios.library import Library
from tests.celery.scenarios.workers import Running, declare_tasks

_SEEDS = range(200)


def _tasks(lib: Library, **settings: Any) -> Running:
    app = lib.app("nested", **settings)
    app.set_current()
    given = Running(lib, app)
    declare_tasks(given)
    nested_on_worker.declare(given)
    app.finalize()
    return given


def _workflows(work: Running) -> list[Any]:
    return [nested_on_worker.workflow(work, Random(seed), 1 + seed % 3, iter(range(1000))) for seed in _SEEDS]


def applied(lib: Library) -> Any:
    return [workflow.apply().get() for workflow in _workflows(_tasks(lib))]


def always_eager(lib: Library) -> Any:
    work = _tasks(lib, task_always_eager=True)
    # A task that is replaced and called by itself is another scenario.
    return [
        workflow.apply_async().get()
        for workflow in _workflows(work)
        if getattr(workflow, "task", None) not in ("work.relabelled", "work.grouped")
    ]


def replaced_task_that_is_always_eager(lib: Library) -> Any:
    return lib.raised(lambda: _tasks(lib, task_always_eager=True).relabelled.delay().get(), text=False)
