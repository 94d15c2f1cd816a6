"""The workers that run in this process, and their answers to commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from taskq_cloud.celery.worker.panel import Panel, nok

__all__ = ("answer", "running", "workers_of")

_workers: list[Any] = []


@contextmanager
def running(worker: Any) -> Iterator[None]:
    """Let a worker, which has an ``app`` and a ``hostname``, take commands in a ``with`` statement."""
    _workers.append(worker)
    try:
        yield
    finally:
        _workers.remove(worker)


def workers_of(app: Any) -> list[Any]:
    """Return the workers of an application."""
    return [worker for worker in _workers if worker.app is app]


def answer(worker: Any, command: str, arguments: Mapping[str, Any]) -> Any:
    """Let a worker carry out a command, and return its answer; an exception is an answer, too.

    Raises:
        NotImplementedError: workers can't carry out the command.
    """
    function = Panel.data.get(command)
    if function is None:
        raise NotImplementedError(f"workers can't carry out the command {command!r} yet: {_known()}")
    state = SimpleNamespace(app=worker.app, hostname=worker.hostname, consumer=worker, tset=set)
    try:
        return function(state, **arguments)
    except NotImplementedError:
        raise
    except Exception as error:
        return nok(repr(error))


def _known() -> str:
    return f"those of this process know {', '.join(sorted(Panel.data))}"
