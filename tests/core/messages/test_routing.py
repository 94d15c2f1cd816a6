"""Routing of tasks to queues, compared with Celery's own router."""

from __future__ import annotations

import string
from datetime import timedelta
from typing import Any

import pytest
from celery.app.routes import MapRoute
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.messages.routing import Route, Router
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


def test_route_has_options_of_calls() -> None:
    routes: dict[str, Any] = {
        "pay": {"queue": "money", "priority": 5, "expires": timedelta(hours=1)},
        "mail": {"serializer": "yaml"},
    }
    router = Router(routes, "default")
    assert router.route_of("pay") == Route("money", {"priority": 5, "expires": 3600.0})
    assert (router.queue_for("mail"), router.route_of("mail").options) == ("default", {"serializer": "yaml"})
    assert router.route_of("other") == Route("default", {})


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({}, "names no queue"),
        ({"queue": None}, "names no queue"),
        ({"queue": ""}, "queue must be a name"),
        ("", "queue must be a name"),
        ({"queue": 1}, "queue must be a name"),
        ({"queue": "money", "priority": "high"}, "priority must be a whole number"),
        ({"queue": "money", "exchange": "x"}, "has 'exchange', which has no effect here: remove it"),
        ({"queue": "money", "countdown": 5}, "has 'countdown', which has no effect here"),
    ],
)
def test_route_without_an_effect_is_refused(route: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"the route of 'pay'.*{words}"):
        Router({"pay": route}, "default")
