"""How long a wait may be: a number of seconds or a timedelta, wherever it is given; endless only where that is said."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from taskq_cloud import TaskQ, errors, group
from taskq_cloud.errors import OptionError
from taskq_cloud.testing.bench import Bench
from tests.arithmetic import make_app


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = make_app()
    yield app
    app.close()


def several(app: TaskQ) -> Any:
    return group(app.tasks["add"].s(1, 2), app.tasks["add"].s(3, 4)).delay()


WAITS: dict[str, Callable[[TaskQ, dict[str, Any]], Any]] = {
    "get": lambda app, given: app.tasks["add"].delay(1, 2).get(**given),
    "aget": lambda app, given: asyncio.run(app.tasks["add"].delay(1, 2).aget(**given)),
    "group": lambda app, given: several(app).get(**given),
    "join": lambda app, given: several(app).join(**given),
    "native": lambda app, given: list(several(app).iter_native(**given)),
}


@pytest.mark.parametrize("wrong", [{"timeout": math.nan}, {"timeout": "1"}, {"timeout": 1e12}, {"timeout": Decimal(1)}])
@pytest.mark.parametrize("wait", WAITS)
def test_timeout_that_is_no_number_of_seconds_is_refused(app: TaskQ, wait: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="timeout must be a number of seconds"):
        WAITS[wait](app, wrong)


@pytest.mark.parametrize("wrong", [math.nan, -1, "1", None])
@pytest.mark.parametrize("wait", WAITS)
def test_interval_that_is_no_number_of_seconds_is_refused(app: TaskQ, wait: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match="interval must be a number of seconds"):
        WAITS[wait](app, {"timeout": 0, "interval": wrong})


@pytest.mark.parametrize("given", [timedelta(0), 0, -1, timedelta(seconds=-1)])
@pytest.mark.parametrize("wait", WAITS)
def test_wait_whose_time_is_over_has_one_look(app: TaskQ, wait: str, given: Any) -> None:
    with pytest.raises(errors.TimeoutError):
        WAITS[wait](app, {"timeout": given})


@pytest.mark.parametrize("endless", [None, math.inf, timedelta(days=365)])
def test_result_that_is_there_is_returned_however_long_the_wait_might_be(app: TaskQ, endless: Any) -> None:
    bench, result, both = Bench.of(app), app.tasks["add"].delay(1, 2), several(app)
    bench.drain()
    assert result.get(timeout=endless) == 3
    assert both.get(timeout=endless) == [3, 7]
