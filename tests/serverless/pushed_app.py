"""An application whose queue ``celery`` is pushed to an endpoint, while a worker serves its queue ``crates``."""

from __future__ import annotations

import os
from typing import Any

from taskq_cloud import TaskQ


def make_app() -> TaskQ:
    app = TaskQ("pushed", broker=os.environ["PUSHED_BROKER"], results=os.environ["PUSHED_RESULTS"])

    @app.task(name="place")
    def place(*before: Any) -> list[Any]:
        return [*before, os.environ.get("PUSHED_PLACE", "endpoint")]

    @app.task(name="fail")
    def fail(*_before: Any) -> None:
        raise ValueError("no crates left")

    @app.task(name="note")
    def note(task_id: str) -> list[str]:
        return [task_id, os.environ.get("PUSHED_PLACE", "endpoint")]

    @app.task(name="swap", bind=True)
    def swap(self: Any, *_before: Any) -> Any:
        raise self.replace(place.s() | place.s().set(queue="crates") | place.s())

    return app


app = make_app() if "PUSHED_BROKER" in os.environ else None
