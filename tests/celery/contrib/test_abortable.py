"""Tasks that can be asked to stop."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud.celery.contrib.abortable import ABORTED, AbortableAsyncResult, AbortableTask
from taskq_cloud.celery.contrib.testing.app import TestApp, setup_default_app
from taskq_cloud.celery.contrib.testing.worker import start_worker
from tests.celery.utils.loggers import loggers_as_before


@pytest.fixture
def app() -> Iterator[Any]:
    made = TestApp()
    with setup_default_app(made), loggers_as_before():
        yield made


def test_running_task_sees_that_it_was_aborted(app: Any) -> None:
    started, aborted = threading.Event(), threading.Event()

    def work(self: Any) -> list[bool]:
        before = self.is_aborted()
        started.set()
        assert aborted.wait(10)
        return [before, self.is_aborted()]

    task = app.task(bind=True, base=AbortableTask, name="work")(work)
    with start_worker(app):
        result = task.delay()
        assert isinstance(result, AbortableAsyncResult)
        assert started.wait(10)
        result.abort()
        assert result.is_aborted()
        assert result.state == ABORTED
        aborted.set()
    assert task.is_aborted(task_id=result.id) is False
    assert result.get(timeout=10) == [False, True]


def test_task_that_was_not_aborted_is_not(app: Any) -> None:
    def work(self: Any) -> None:
        """A task that nobody aborts."""

    task = app.task(bind=True, base=AbortableTask, name="work")(work)
    result = task.apply_async()
    assert not result.is_aborted()
    assert not task.is_aborted(task_id=result.id)
