"""The tasks that every application has in Celery. In workers, the native pipeline carries workflows out itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq_cloud.celery._state import connect_on_app_finalize

__all__: tuple[str, ...] = ()


@connect_on_app_finalize
def add_backend_cleanup_task(app: Any) -> Any:
    """Declare the task that deletes expired results from the backend."""

    @_declare(app, "celery.backend_cleanup")
    def backend_cleanup() -> None:
        app.backend.cleanup()

    return backend_cleanup


@connect_on_app_finalize
def add_accumulate_task(app: Any) -> Any:
    """Declare the task that returns its arguments, or one of them."""

    @_declare(app, "celery.accumulate", bind=True)
    def accumulate(self: Any, *args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args if index is None else args[index]

    return accumulate


@connect_on_app_finalize
def add_unlock_chord_task(app: Any) -> Any:
    """Declare the task that waits for the header of a chord, and then sends the body."""
    from taskq_cloud.celery.app import chord_unlocking  # which imports canvas and results

    return chord_unlocking.declare(app)


@connect_on_app_finalize
def add_map_task(app: Any) -> Any:
    """Declare the task that calls another one for each item."""

    @_declare(app, "celery.map")
    def xmap(task: Any, it: Any) -> list[Any]:
        called = app.signature(task, app=app).type
        return [called(item) for item in it]

    return xmap


@connect_on_app_finalize
def add_starmap_task(app: Any) -> Any:
    """Declare the task that calls another one for each tuple of arguments."""

    @_declare(app, "celery.starmap")
    def xstarmap(task: Any, it: Any) -> list[Any]:
        called = app.signature(task, app=app).type
        return [called(*item) for item in it]

    return xstarmap


@connect_on_app_finalize
def add_chunk_task(app: Any) -> Any:
    """Declare the task that sends chunks of calls."""

    @_declare(app, "celery.chunks")
    def chunks(task: Any, it: Any, n: int) -> Any:
        from taskq_cloud.celery.canvas import chunks as make  # few processes make workflows

        return make.apply_chunks(task, it, n)

    return chunks


@connect_on_app_finalize
def add_group_task(app: Any) -> Any:
    """Declare the task that sends the members of a group."""

    @_declare(app, "celery.group", bind=True)
    def group(self: Any, tasks: Any, result: Any, group_id: str, partial_args: Any, add_to_parent: bool = True) -> Any:
        from taskq_cloud.celery.canvas import maybe_signature  # few processes make workflows
        from taskq_cloud.celery.result import result_from_tuple

        of = self.app
        made = result_from_tuple(result, of)
        with of.producer_or_acquire() as producer:
            for task in tasks:
                sig = maybe_signature(task, app=of).clone(partial_args)
                sig.apply_async(group_id=group_id, producer=producer, add_to_parent=False)
        parent = of.current_worker_task
        if add_to_parent and parent:
            parent.add_trail(made)
        return made

    return group


@connect_on_app_finalize
def add_chain_task(app: Any) -> Any:
    """Declare the task that stands for a chain, and can't be called."""

    @_declare(app, "celery.chain")
    def chain(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("chain is not a real task")

    return chain


@connect_on_app_finalize
def add_chord_task(app: Any) -> Any:
    """Declare the task that sends a chord."""

    @_declare(app, "celery.chord", bind=True, ignore_result=False)
    def chord(
        self: Any,
        header: Any,
        body: Any,
        partial_args: Any = (),
        interval: float | None = None,
        countdown: float = 1,
        max_retries: int | None = None,
        eager: bool = False,
        **kwargs: Any,
    ) -> Any:
        from taskq_cloud.celery import canvas  # few processes make workflows

        of = self.app
        tasks = header.tasks if isinstance(header, canvas.group) else header
        members = canvas.group([canvas.maybe_signature(task, app=of) for task in tasks], app=of)
        body = canvas.maybe_signature(body, app=of)
        made = canvas.chord(members, body)
        return made.run(members, body, partial_args, of, interval, countdown, max_retries, **kwargs)

    return chord


def _declare(app: Any, name: str, **options: Any) -> Callable[[Any], Any]:
    declared: Callable[[Any], Any] = app.task(name=name, shared=False, lazy=False, **options)
    return declared
