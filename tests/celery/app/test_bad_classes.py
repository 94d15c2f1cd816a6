"""Classes that are no tasks are refused with an error that names them."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud.celery import Celery


@pytest.fixture
def app() -> Any:
    return Celery("shop", set_as_current=False, broker="memory://", backend="cache+memory://")


@pytest.mark.parametrize("given", [dict, 7], ids=["class", "object"])
def test_registered_object_that_is_no_task_is_refused(app: Any, given: Any) -> None:
    with pytest.raises(TypeError, match=r"derived from app\.Task, not (\{\}|7)"):
        app.register_task(given)


def test_base_class_that_is_no_task_is_refused(app: Any) -> None:
    def resize() -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"resize: base must be a class .* not <class 'int'>"):
        _ = app.task(shared=False, lazy=False, base=int)(resize)
