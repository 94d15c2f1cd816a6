"""The tasks that every application has in Celery: they stand for workflows, which the native pipeline carries out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from taskq_cloud.celery._state import connect_on_app_finalize

__all__: tuple[str, ...] = ()


def _stands_for_workflow(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"{name} stands for a workflow, which the pipeline carries out: it isn't called by itself")

    return refuse


def _accumulate(self: Any, *args: Any, **kwargs: Any) -> Any:
    index = kwargs.get("index")
    return args[index] if index is not None else args


def _backend_cleanup(app: Any) -> Callable[[], None]:
    def backend_cleanup() -> None:
        app.backend.cleanup()

    return backend_cleanup


def _map(app: Any) -> Callable[..., list[Any]]:
    def xmap(task: Any, it: Any) -> list[Any]:
        called = app.signature(task, app=app).type
        return [called(item) for item in it]

    return xmap


def _starmap(app: Any) -> Callable[..., list[Any]]:
    def xstarmap(task: Any, it: Any) -> list[Any]:
        called = app.signature(task, app=app).type
        return [called(*item) for item in it]

    return xstarmap


def _chunks(app: Any) -> Callable[..., Any]:
    def chunks(task: Any, it: Any, n: int) -> Any:
        from taskq_cloud.celery.canvas import chunks as make  # few processes make workflows

        return make.apply_chunks(task, it, n)

    return chunks


_WORKFLOWS: Final = ("celery.chain", "celery.chord", "celery.chord_unlock", "celery.group")


@connect_on_app_finalize
def add_builtin_tasks(app: Any) -> None:
    """Declare the built-in tasks on an application that is finalized."""
    declare = {"shared": False, "lazy": False}
    for name in _WORKFLOWS:
        app.task(name=name, **declare)(_named(_stands_for_workflow(name), name))
    app.task(name="celery.accumulate", bind=True, **declare)(_named(_accumulate, "celery.accumulate"))
    app.task(name="celery.backend_cleanup", **declare)(_named(_backend_cleanup(app), "celery.backend_cleanup"))
    app.task(name="celery.map", **declare)(_named(_map(app), "celery.map"))
    app.task(name="celery.starmap", **declare)(_named(_starmap(app), "celery.starmap"))
    app.task(name="celery.chunks", **declare)(_named(_chunks(app), "celery.chunks"))


def _named(function: Any, task: str) -> Any:
    function.__name__ = task.partition(".")[2]
    return function
