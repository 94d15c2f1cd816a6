"""A worker and its caller, in two processes on SQLite: each is told by the other, and neither polls in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until
from tests.worker.commands import Command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes"),
]

APP = """
from taskq_cloud import TaskQ
from taskq_cloud.brokers import _local
_local.LISTENING_PAUSE_SECONDS = 60
app = TaskQ("told", broker="sqlite:///broker.db", results="sqlite:///results.db", wait_time_seconds=60)

@app.task(name="double")
def double(number):
    return 2 * number
"""


def test_caller_and_worker_hear_each_other_where_polls_would_take_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "told_app.py").write_text(APP)
    app = TaskQ("told", broker=f"sqlite:///{tmp_path}/broker.db", results=f"sqlite:///{tmp_path}/results.db")
    listeners = tmp_path / "broker.db-listeners"
    with Command(tmp_path, "worker", "-A", "told_app", "-P", "threads", "-c", "1"):
        until(lambda: listeners.exists() and any(listeners.iterdir()), timeout_seconds=30)
        for number in range(3):
            result: Any = app.send_task("double", (number,))
            assert result.get(timeout=8, interval=60) == 2 * number
    app.close()
