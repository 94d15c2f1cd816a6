"""Constructs of the guide "Testing with Celery": eager runs, mocks, fixtures, and a worker in a thread."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from tests.celery.documentation.sides import Side, get


class Order:
    """What the tasks below work on."""

    @staticmethod
    def place(number: int) -> int:
        raise NotImplementedError


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("shop")

    @app.task(name="shop.send_order", bind=True, max_retries=2, default_retry_delay=0)
    def send_order(self: Any, number: int) -> int:
        try:
            return Order.place(number)
        except OSError as error:
            raise self.retry(exc=error) from error

    app.send_order = send_order
    return app


def test_task_is_called_as_a_function_with_a_mock(app: Any) -> None:
    with patch.object(Order, "place", return_value=7) as place:
        assert app.send_order(7) == 7
    place.assert_called_once_with(7)


def test_retry_of_a_function_call_can_be_mocked(side: Side, app: Any) -> None:
    retry = side.module("exceptions").Retry
    with (
        patch.object(Order, "place", side_effect=OSError("down")) as place,
        patch.object(type(app.send_order._get_current_object()), "retry", side_effect=retry()) as retried,
        pytest.raises(retry),
    ):
        app.send_order(7)
    place.assert_called_once_with(7)
    assert isinstance(retried.call_args.kwargs["exc"], OSError)


def test_eager_run_retries_in_place(side: Side, app: Any) -> None:
    with patch.object(Order, "place", side_effect=[OSError("down"), 7]) as place:
        result = app.send_order.apply((7,))
    assert (type(result).__name__, result.get(), place.call_count) == ("EagerResult", 7, 2)


def test_always_eager_runs_calls_in_place_and_can_raise(side: Side, app: Any) -> None:
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    with patch.object(Order, "place", return_value=8):
        result = app.send_order.delay(8)
    assert (result.successful(), result.get()) == (True, 8)
    with patch.object(Order, "place", side_effect=KeyError("lost")), pytest.raises(KeyError):
        app.send_order.delay(9)


def test_worker_runs_in_a_thread_of_the_test(side: Side, app: Any) -> None:
    with side.worker(app) as worker, patch.object(Order, "place", return_value=9):
        assert get(app.send_order.delay(9)) == 9
        assert worker is not None


def test_worker_is_reloaded_after_a_task_was_declared(side: Side, app: Any) -> None:
    with side.worker(app) as worker:

        @app.task(name="shop.mul")
        def mul(x: int, y: int) -> int:
            return x * y

        worker.reload()
        assert get(mul.delay(4, 4)) == 16


def test_application_for_tests_keeps_all_in_memory(side: Side) -> None:
    app = side.module("contrib.testing.app").TestApp(set_as_current=False)
    assert app.conf.broker_url == "memory://"
    assert app.conf.result_backend == "cache+memory://"
