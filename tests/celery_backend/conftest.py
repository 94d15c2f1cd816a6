from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:////{tmp_path}/results.db"


@pytest.fixture
def app(url: str) -> Iterator[Any]:
    """A Celery application whose results are in the store of ``url``."""
    celery = pytest.importorskip("celery")
    from kombu.transport.memory import Channel

    made = celery.Celery("shop", broker="memory://", backend=f"taskq+{url}", set_as_current=False)
    made.conf.result_extended = True

    def add(a: int, b: int) -> int:
        return a + b

    def total(values: list[int]) -> int:
        return sum(values)

    for function in (add, total):
        made.task(name=function.__name__, shared=False)(function)
    yield made
    made.close()
    Channel.queues.clear()


@pytest.fixture
def ours(url: str) -> Iterator[TaskQ]:
    """A taskq application whose results are in the store of ``url``."""
    made = TaskQ("shop", broker="memory://", results=url)
    yield made
    made.close()
