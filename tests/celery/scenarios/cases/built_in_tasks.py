"""The tasks that every application has, called by their names."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from tests.celery.scenarios.library import Library


def _app(lib: Library) -> Any:
    app = lib.app("builtins")
    app.set_current()

    @app.task(shared=False, name="add")
    def add(x, y):
        return x + y

    @app.task(shared=False, name="double")
    def double(x):
        return x * 2

    app.finalize()
    return app


def accumulate(lib: Library) -> Any:
    task = _app(lib).tasks["celery.accumulate"]
    return task(1, 2, 3), task(1, 2, index=0), task(5, index=None), task.apply((1, 2)).get(), task([1, 2], index=0)


def clean_up(lib: Library) -> Any:
    app = _app(lib)
    app.backend.cleanup = backend = Mock(name="cleanup")
    return app.tasks["celery.backend_cleanup"](), app.tasks["celery.backend_cleanup"].apply().state, backend.call_count


def map_task(lib: Library) -> Any:
    app = _app(lib)
    sig = app.tasks["double"].s()
    return app.tasks["celery.map"](sig, [1, 2, 3]), app.tasks["celery.map"].apply((dict(sig), [4])).get()


def starmap_task(lib: Library) -> Any:
    app = _app(lib)
    return app.tasks["celery.starmap"](app.tasks["add"].s(), [(1, 2), (3, 4)])


def chunks_task(lib: Library) -> Any:
    app = _app(lib)
    app.conf.task_always_eager = True
    result = app.tasks["celery.chunks"](app.tasks["add"].s(), [(1, 2), (3, 4), (5, 6)], 2)
    return type(result).__name__, result.get()


def names_and_attributes(lib: Library) -> Any:
    app = _app(lib)
    return {
        name: (task.ignore_result, task.max_retries, task.trail, task.typing)
        for name, task in sorted(app.tasks.items())
        if name.startswith("celery.")
    }


def chain_called_as_task(lib: Library) -> Any:
    return lib.raised(_app(lib).tasks["celery.chain"])


def group_called_as_task(lib: Library) -> Any:
    app = _app(lib)
    app.conf.task_always_eager = True
    members = [app.tasks["double"].s(i) for i in range(3)]
    result = app.GroupResult("group-id", [sig.freeze() for sig in members])
    found = app.tasks["celery.group"](members, result.as_tuple(), "group-id", ())
    return type(found).__name__, found.id, len(found)


def chord_called_as_task(lib: Library) -> Any:
    app = _app(lib)
    app.conf.task_always_eager = True
    called = app.tasks["celery.chord"]
    result = called([app.tasks["double"].s(i) for i in range(3)], app.tasks["double"].s())
    return type(result).__name__


def _unlocking(lib: Library, *, states: str, body_fails: bool = False, **options: Any) -> Any:
    app = _app(lib)
    results = []
    for index, state in enumerate(states.split()):
        member = lib.uuid()
        app.backend.store_result(member, KeyError("x") if state == "FAILURE" else index, state)
        results.append(app.AsyncResult(member).as_tuple())
    body = app.tasks["double"].s()
    body_id = body.freeze().id
    sent: list[Any] = []
    module = lib.module("app.task").Task
    original, module.apply_async = module.apply_async, lambda self, args=None, *_, **__: sent.append((self.name, args))
    try:
        task = app.tasks["celery.chord_unlock"]
        task.push_request(called_directly=False, id="unlock-id", args=("group-id", body), kwargs={}, retries=0)
        try:
            raised = lib.raised(lambda: task.run("group-id", body, result=results, **options), text=False)
        finally:
            task.pop_request()
    finally:
        module.apply_async = original
    ended = app.AsyncResult(body_id)
    return raised, sent, ended.state, type(ended.result).__name__


def chord_unlocked_when_ready(lib: Library) -> Any:
    return _unlocking(lib, states="SUCCESS SUCCESS")


def chord_unlocked_with_failed_member(lib: Library) -> Any:
    return _unlocking(lib, states="SUCCESS FAILURE")


def chord_unlock_is_retried_until_ready(lib: Library) -> Any:
    return _unlocking(lib, states="SUCCESS STARTED"), _unlocking(lib, states="STARTED", interval=5, max_retries=3)


def chord_unlock_whose_retries_run_out(lib: Library) -> Any:
    return _unlocking(lib, states="STARTED", max_retries=0)


def attributes_of_chord_unlock(lib: Library) -> Any:
    task = _app(lib).tasks["celery.chord_unlock"]
    return task.max_retries, task.ignore_result, task.default_retry_delay


def functions_that_add_tasks(lib: Library) -> Any:
    app, module = lib.bare_app("x"), lib.module("app.builtins")
    names = (
        "add_accumulate_task",
        "add_backend_cleanup_task",
        "add_chain_task",
        "add_chord_task",
        "add_chunk_task",
        "add_group_task",
        "add_map_task",
        "add_starmap_task",
        "add_unlock_chord_task",
    )
    return [getattr(module, name)(app).name for name in names]


def signatures_of_built_in_tasks(lib: Library) -> Any:
    app = _app(lib)
    return [app.tasks[name].s(1).task for name in ("celery.map", "celery.accumulate", "celery.group")]
