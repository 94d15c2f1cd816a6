"""An application without a service, whose tasks calculate."""

from __future__ import annotations

from typing import Any

from taskq_cloud import TaskQ


def make_app(name: str = "shop", **settings: Any) -> TaskQ:
    """Make an application with the tasks ``add``, ``double`` and ``total``, and a broker and a store in memory."""
    app = TaskQ(name, broker="memory://", results="memory://", **settings)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="double")
    def double(number: int) -> int:
        return number * 2

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    return app
