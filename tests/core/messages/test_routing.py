"""Routing of tasks to queues, compared with Celery's own router."""

from __future__ import annotations

import string
from typing import Any

import pytest
from celery.app.routes import MapRoute
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.messages.routing import Router
from taskq_cloud.errors import ImproperlyConfigured

names = st.text("ab.", min_size=1, max_size=5)
# Celery takes ** for *, and the later of two such routes wins; patterns with ** are left out.
patterns = st.text("ab.*", min_size=1, max_size=4).filter(lambda pattern: "**" not in pattern)
queues = st.text(string.ascii_lowercase, min_size=1, max_size=3)


def celerys(routes: dict[str, Any], task: str) -> str:
    found = MapRoute(routes)(task)
    return "default" if found is None else found["queue"]


@given(routes=st.dictionaries(patterns, queues | queues.map(lambda queue: {"queue": queue})), task=names)
def test_task_is_routed_as_by_celery(routes: dict[str, Any], task: str) -> None:
    assert Router(routes, "default").queue_for(task) == celerys(routes, task)


def test_name_comes_before_patterns_which_are_tried_in_order() -> None:
    router = Router({"shop.*": "shop", "*": "rest", "shop.pay": {"queue": "money"}}, "default")
    assert [router.queue_for(task) for task in ("shop.pay", "shop.mail", "other")] == ["money", "shop", "rest"]


@pytest.mark.parametrize("route", [{}, {"queue": ""}, {"queue": 1}, {"exchange": "x"}, ""])
def test_route_without_a_queue_is_refused(route: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="the route of 'pay' names no queue"):
        Router({"pay": route}, "default")
