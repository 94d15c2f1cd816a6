"""Constructs of the guide "Calling tasks": options of ``apply_async``, callbacks, delays, retries and serializers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("mail")
    app.told = []

    @app.task(name="mail.add")
    def add(x: Any, y: Any) -> Any:
        return x + y

    @app.task(name="mail.tell")
    def tell(*args: Any, **kwargs: Any) -> None:
        app.told.append((args, kwargs))

    @app.task(name="mail.failed")
    def failed(request: Any, error: Exception, traceback: Any) -> None:
        app.told.append((request.id, type(error).__name__, bool(traceback)))

    @app.task(name="mail.headers", bind=True)
    def headers(self: Any) -> Any:
        return self.request.headers

    app.add, app.tell, app.failed, app.headers = add, tell, failed, headers
    return app


def test_delay_and_apply_async_send_the_same_arguments(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(app.add.delay(1, y=2)) == 3
        assert get(app.add.apply_async((1,), {"y": 2})) == 3
        assert get(app.add.apply_async(args=[1, 2], kwargs={})) == 3
        assert get(app.send_task("mail.add", args=(1, 2))) == 3


def test_wrong_arguments_are_refused_by_the_caller(app: Any) -> None:
    with pytest.raises(TypeError):
        app.add.delay(1)


def test_link_gets_the_result(side: Side, app: Any) -> None:
    with side.worker(app):
        result = app.add.apply_async((2, 2), link=app.add.s(16))
        assert get(result) == 4
        (child,) = result.children
        assert get(child) == 20
        several = app.add.apply_async((2, 2), link=[app.tell.s(), app.tell.s(5), app.tell.si()])
        assert get(several) == 4
        for child in several.children:  # in Celery, several callbacks are one group
            assert get(child) in (None, [None] * 3)
    assert sorted(app.told, key=str) == sorted([((4,), {}), ((4, 5), {}), ((), {})], key=str)


def test_link_error_gets_request_exception_and_traceback(side: Side, app: Any) -> None:
    with side.worker(app):
        result = app.add.apply_async((2, "2"), link_error=app.failed.s())
        with pytest.raises(TypeError):
            get(result)
        get(app.add.delay(1, 1))
    assert app.told == [(result.id, "TypeError", True)]


def test_countdown_and_eta_delay_a_task(side: Side, app: Any) -> None:
    with side.worker(app):
        begun = datetime.now(UTC)
        due = begun + timedelta(seconds=0.3)
        for result in (app.add.apply_async((2, 2), countdown=0.3), app.add.apply_async((2, 2), eta=due)):
            assert get(result) == 4
        assert datetime.now(UTC) - begun >= timedelta(seconds=0.3)


def test_expired_task_is_revoked(side: Side, app: Any) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    result = app.add.apply_async((10, 10), expires=long_ago)
    later = app.add.apply_async((10, 10), expires=60)
    with side.worker(app):
        assert get(later) == 20
        with pytest.raises(side.module("exceptions").TaskRevokedError):
            get(result)
    assert result.state == "REVOKED"


def test_retry_policy_is_accepted(side: Side, app: Any) -> None:
    policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2, "retry_errors": None}
    with side.worker(app):
        assert get(app.add.apply_async((2, 2), retry=True, retry_policy=policy)) == 4
        assert get(app.add.apply_async((2, 2), retry=False)) == 4


def test_serializer_and_compression_are_options_of_a_call(side: Side, app: Any) -> None:
    app.conf.accept_content = ["json", "yaml", "pickle"]
    with side.worker(app):
        for serializer in ("json", "yaml", "pickle"):
            assert get(app.add.apply_async((10, 10), serializer=serializer)) == 20
        for compression in ("zlib", "gzip", "bzip2"):
            assert get(app.add.apply_async((10, 10), compression=compression)) == 20


def test_unserializable_argument_is_an_error_of_the_caller(side: Side, app: Any) -> None:
    with pytest.raises(Exception, match=r"seriali[sz]able"):
        app.add.delay(object(), 1)


def test_connection_and_producer_can_be_given(side: Side, app: Any) -> None:
    with side.worker(app):
        with app.connection() as connection:
            assert get(app.add.apply_async((1, 2), connection=connection)) == 3
        with app.producer_pool.acquire(block=True) as producer:
            assert [get(app.add.apply_async((n, n), producer=producer)) for n in range(3)] == [0, 2, 4]
        with app.connection_or_acquire() as connection:
            assert connection is not None


def test_routing_options_are_accepted(side: Side, app: Any) -> None:
    with side.worker(app, queues=["priority.high"]):
        assert get(app.add.apply_async((1, 1), queue="priority.high")) == 2
        assert get(app.add.apply_async((1, 1), queue="priority.high", priority=3)) == 2


def test_headers_reach_the_task(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(app.headers.apply_async(headers={"tenant": "blue"}))["tenant"] == "blue"


def test_result_of_one_call_is_ignored(side: Side, app: Any) -> None:
    with side.worker(app):
        ignored = app.add.apply_async((1, 2), ignore_result=True)
        assert get(app.add.apply_async((1, 2), ignore_result=False)) == 3
    assert app.AsyncResult(ignored.id).result is None


def test_custom_state_is_stored_while_a_task_runs(side: Side, app: Any) -> None:
    @app.task(name="mail.progress", bind=True)
    def progress(self: Any) -> Any:
        self.update_state(state="PROGRESS", meta={"done": 50})
        stored = self.AsyncResult(self.request.id)
        return [stored.state, stored.info]

    with side.worker(app):
        assert get(progress.delay()) == ["PROGRESS", {"done": 50}]


def test_callback_of_progress_needs_a_backend_that_tells(side: Side, app: Any) -> None:
    with pytest.raises(side.module("exceptions").ImproperlyConfigured, match="on_message"):
        get(app.AsyncResult("any"), on_message=print)


def test_task_id_and_shadow_are_options_of_a_call(side: Side, app: Any) -> None:
    with side.worker(app):
        result = app.add.apply_async((1, 2), task_id="an-id-of-mine", shadow="another-name")
        assert (result.id, get(result)) == ("an-id-of-mine", 3)


def test_stamped_headers_reach_the_task(side: Side, app: Any) -> None:
    @app.task(name="mail.stamps", bind=True)
    def stamps(self: Any) -> Any:
        return [self.request.stamped_headers, self.request.stamps]

    with side.worker(app):
        result = stamps.apply_async(stamped_headers=["tenant"], tenant="blue")
        names, values = get(result)
    assert "tenant" in names
    assert values in ({"tenant": ["blue"]}, {"tenant": "blue"})
