"""Differences of calls, of their signals and of their ends, each with a row in docs/celery.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


@contextmanager
def receiver(signal: Any, function: Any) -> Iterator[None]:
    """Connect a receiver to a signal in a ``with`` statement."""
    signal.connect(function, weak=False)
    try:
        yield
    finally:
        signal.disconnect(function)


def test_overridden_call_of_a_follower_changes_headers_only(ours: Side) -> None:
    app = ours.app()

    class Tenants(app.Task):  # type: ignore[name-defined]
        abstract = True

        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            options["headers"] = {**(options.get("headers") or {}), "tenant": "called"}
            return super().apply_async(args, {**(kwargs or {}), "y": 2}, **options)

    @app.task(base=Tenants, bind=True)
    def shown(self: Any, *_: Any, y: int = 0) -> Any:
        return [self.request.get("tenant"), y]

    with ours.worker(app):
        assert get(shown.delay()) == ["called", 2]
        assert get(ours.chain(shown.s(), shown.s())()) == ["called", 0]


def test_property_that_a_receiver_changes_is_not_sent_unless_it_is_the_priority(ours: Side) -> None:
    app, signals = ours.app(), ours.module("signals")

    @app.task(bind=True)
    def shown(self: Any, x: int) -> Any:
        return [x, self.request.correlation_id == self.request.id]

    def publish(body: Any = None, properties: Any = None, **_: Any) -> None:
        body[1]["x"] = 100
        properties["correlation_id"] = "changed"

    with receiver(signals.before_task_publish, publish), ours.worker(app):
        assert get(shown.delay(x=1)) == [100, True]


def test_id_that_is_a_number_is_refused(ours: Side) -> None:
    with pytest.raises(ours.module("exceptions").CeleryError, match="task_id must be a text"):
        ours.app().send_task("add", task_id=5)


@pytest.mark.parametrize(("option", "value"), [("max_retries", -1), ("time_limit", "10")])
def test_option_with_a_wrong_value_is_refused(ours: Side, option: str, value: Any) -> None:
    app = ours.app()

    def nothing() -> None: ...

    task = app.task(**{option: value})(nothing)
    with pytest.raises(ours.module("exceptions").CeleryError, match=option):
        task.delay()


@pytest.mark.parametrize(("setting", "value"), [("worker_concurrency", "abc"), ("timezone", "Nowhere/City")])
def test_setting_with_a_wrong_value_is_refused_by_calls(ours: Side, setting: str, value: str) -> None:
    app = ours.app()
    app.conf[setting] = value
    with pytest.raises(ours.module("exceptions").ImproperlyConfigured, match=setting):
        app.send_task("add")


def test_result_of_a_rejected_task_raises_an_error_with_its_name(ours: Side) -> None:
    app, reject = ours.app(), ours.module("exceptions").Reject

    @app.task
    def rejected() -> None:
        raise reject("no")

    with ours.worker(app):
        result = rejected.delay()
        with pytest.raises(ours.module("exceptions").TaskError) as raised:
            get(result)
    assert type(raised.value).__name__ == "RemoteError[Reject]"
    assert result.state == "FAILURE"


def test_expired_message_is_received_and_revoked(ours: Side) -> None:
    app, signals, sent = ours.app(), ours.module("signals"), list[str]()

    @app.task
    def nothing() -> None: ...

    def note(signal: Any = None, **_: Any) -> None:
        sent.append(signal.name)

    with receiver(signals.task_received, note), receiver(signals.task_revoked, note), ours.worker(app):
        result = nothing.apply_async(expires=-1)
        with pytest.raises(ours.module("exceptions").TaskRevokedError):
            get(result)
    assert sent == ["task_received", "task_revoked"]


def test_task_that_leaves_the_process_runs_again(ours: Side) -> None:
    app, runs = ours.app(), list[int]()

    @app.task
    def leaves() -> int:
        runs.append(1)
        if len(runs) == 1:
            sys.exit(3)
        return len(runs)

    with ours.worker(app, pool="threads", concurrency=1):
        assert get(leaves.delay()) == 2
