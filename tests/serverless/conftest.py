from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from tests.serverless.events import make_app


@pytest.fixture
def shop():
    """An application with a task of each kind. ``ran`` lists the arguments of the runs, in order."""
    app, ran = make_app(), []

    @app.task(name="add")
    def add(number):
        ran.append(number)
        return number

    @app.task(name="aadd")
    async def aadd(number):
        ran.append(number)
        return number

    @app.task(name="fail")
    def fail(number) -> None:
        ran.append(number)
        raise ValueError(number)

    @app.task(name="again", autoretry_for=(OSError,), default_retry_delay=7)
    def again(number) -> None:
        ran.append(number)
        raise OSError(number)

    @app.task(name="slow", time_limit=30)
    def slow(number):
        ran.append(number)
        return number

    return SimpleNamespace(app=app, ran=ran, broker=app.broker, handler=app.lambda_handler())


@pytest.fixture
def no_garbage_collection():
    """Collect no garbage during the test, so that no alarm goes off inside a finalizer.

    Python only reports an exception that is raised there ("Exception ignored in ..."), and pytest makes an error of
    that report. In a function the next alarm follows; see ``time_limits``.
    """
    gc.disable()
    yield
    gc.enable()
