"""Constructs of the guide "Signals": receivers, senders, and the signals of tasks and applications."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get

Connect = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def connect(side: Side) -> Iterator[Connect]:
    """Collect what a signal tells, until the test ends."""
    with ExitStack() as stack:

        def collect(name: str, sender: Any = None) -> list[dict[str, Any]]:
            told: list[dict[str, Any]] = []
            signal = getattr(side.module("signals"), name)

            def receiver(sender: Any = None, **kwargs: Any) -> None:
                told.append({"sender": sender, **kwargs})

            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=f"documentation-{name}")
            stack.callback(signal.disconnect, sender=sender, dispatch_uid=f"documentation-{name}")
            return told

        yield collect


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("proj")

    @app.task(name="proj.add", bind=True, max_retries=1)
    def add(self: Any, x: Any, y: Any) -> Any:
        if x == "again" and self.request.retries == 0:
            raise self.retry(exc=OSError("down"), countdown=0)
        return y if x == "again" else x + y

    app.add = add
    return app


def run(side: Side, app: Any, *args: Any) -> Any:
    """Run one task in a worker, and another one after it, so that the handlers of the first have ended."""
    with side.worker(app):
        result = app.add.delay(*args)
        get(result, propagate=False)
        get(app.add.delay(0, 0))
    return result


def test_publishing_is_told_before_and_after(side: Side, app: Any, connect: Connect) -> None:
    before, after = connect("before_task_publish"), connect("after_task_publish", sender="proj.add")
    result = app.add.delay(1, 2)
    assert (before[0]["sender"], before[0]["headers"]["id"]) == ("proj.add", result.id)
    assert before[0]["body"][0] == (1, 2)
    assert set(before[0]) >= {"exchange", "routing_key", "headers", "properties", "declare", "retry_policy"}
    assert (after[0]["headers"]["task"], after[0]["routing_key"]) == ("proj.add", app.conf.task_default_queue)


def test_header_that_is_added_before_publishing_is_sent(side: Side, app: Any) -> None:
    signal = side.module("signals").before_task_publish

    def add_tenant(headers: Any = None, **kwargs: Any) -> None:
        headers["tenant"] = "blue"

    @app.task(name="proj.tenant", bind=True)
    def tenant(self: Any) -> Any:
        return self.request.get("tenant") or self.request.headers["tenant"]

    signal.connect(add_tenant)
    try:
        with side.worker(app):
            assert get(tenant.delay()) == "blue"
    finally:
        signal.disconnect(add_tenant)


def test_run_is_told_before_and_after(side: Side, app: Any, connect: Connect) -> None:
    before, after, success = connect("task_prerun"), connect("task_postrun"), connect("task_success")
    result = run(side, app, 1, 2)
    assert before[0]["task_id"] == after[0]["task_id"] == result.id
    assert (before[0]["sender"].name, before[0]["task"].name) == ("proj.add", "proj.add")
    assert (list(before[0]["args"]), before[0]["kwargs"]) == ([1, 2], {})
    assert (after[0]["retval"], after[0]["state"]) == (3, "SUCCESS")
    assert success[0]["result"] == 3
    assert success[0]["sender"].name == "proj.add"


def test_failure_is_told_with_its_exception(side: Side, app: Any, connect: Connect) -> None:
    failures = connect("task_failure")
    result = run(side, app, 1, "2")
    (told,) = failures
    assert told["task_id"] == result.id
    assert isinstance(told["exception"], TypeError)
    assert list(told["args"]) == [1, "2"]
    assert "TypeError" in str(told["einfo"])


def test_retry_is_told_with_its_reason(side: Side, app: Any, connect: Connect) -> None:
    retries = connect("task_retry")
    result = run(side, app, "again", 5)
    (told,) = retries
    assert told["request"].id == result.id
    assert "down" in str(told["reason"])
    assert get(result) == 5


def test_received_message_is_told_with_its_request(side: Side, app: Any, connect: Connect) -> None:
    received = connect("task_received")
    result = run(side, app, 1, 2)
    assert received[0]["request"].id == result.id
    assert received[0]["request"].name == "proj.add"


def test_revoked_task_is_told(side: Side, app: Any, connect: Connect) -> None:
    revoked = connect("task_revoked")
    result = app.add.apply_async((1, 2), expires=-1)
    with side.worker(app):
        with pytest.raises(side.module("exceptions").TaskRevokedError):
            get(result)
        get(app.add.delay(0, 0))
    assert revoked[0]["request"].id == result.id
    assert (revoked[0]["expired"], revoked[0]["terminated"]) == (True, False)


def test_receiver_can_choose_its_sender(side: Side, app: Any, connect: Connect) -> None:
    of_other = connect("task_success", sender=app.tasks["proj.add"])
    run(side, app, 2, 2)
    assert [told["result"] for told in of_other] == [4, 0]


def test_receiver_is_connected_by_a_decorator_and_sends_are_counted(side: Side) -> None:
    signal = side.module("utils.dispatch").Signal(providing_args=["value"])
    told = []

    @signal.connect
    def receiver(value: Any = None, **kwargs: Any) -> str:
        told.append(value)
        return "seen"

    assert signal.send(sender=None, value=1) == [(receiver, "seen")]
    assert signal.has_listeners(None)
    signal.disconnect(receiver)
    assert signal.send(sender=None, value=2) == []
    assert told == [1]


def test_error_of_a_receiver_does_not_stop_the_others(side: Side) -> None:
    signal = side.module("utils.dispatch").Signal()

    @signal.connect
    def fails(**kwargs: Any) -> None:
        raise ValueError("receiver")

    ((_, error),) = signal.send_robust(sender=None)
    assert isinstance(error, ValueError)


NAMES = (
    "after_setup_logger after_setup_task_logger after_task_publish before_task_publish beat_embedded_init beat_init "
    "celeryd_after_setup celeryd_init eventlet_pool_apply eventlet_pool_preshutdown eventlet_pool_started "
    "heartbeat_sent import_modules setup_logging task_failure task_internal_error task_postrun task_prerun "
    "task_received task_rejected task_retry task_revoked task_success task_unknown user_preload_options worker_init "
    "worker_process_init worker_process_shutdown worker_ready worker_shutdown worker_shutting_down"
)


@pytest.mark.parametrize("name", NAMES.split())
def test_signal_of_the_guide_exists(side: Side, name: str) -> None:
    assert callable(getattr(side.module("signals"), name).connect)
