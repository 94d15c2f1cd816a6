from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serverless.events import Shop, make_app


@pytest.fixture
def shop() -> Shop:
    app, ran = make_app(), list[Any]()

    @app.task(name="add")
    def add(number: Any) -> Any:
        ran.append(number)
        return number

    @app.task(name="aadd")
    async def aadd(number: Any) -> Any:
        ran.append(number)
        return number

    @app.task(name="fail")
    def fail(number: Any) -> None:
        ran.append(number)
        raise ValueError(number)

    @app.task(name="again", autoretry_for=(OSError,), default_retry_delay=7)
    def again(number: Any) -> None:
        ran.append(number)
        raise OSError(number)

    @app.task(name="slow", time_limit=30)
    def slow(number: Any) -> Any:
        ran.append(number)
        return number

    return Shop(app, ran, vars(app)["broker"], app.lambda_handler())


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Collect no garbage during the test, so that no alarm goes off inside a finalizer.

    Python only reports an exception that is raised there ("Exception ignored in ..."), and pytest makes an error of
    that report. In a function the next alarm follows; see ``time_limits``.
    """
    gc.disable()
    yield
    gc.enable()
