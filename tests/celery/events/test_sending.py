"""Events that are sent and received: each scenario runs with Celery's classes and with ours, with one outcome."""

import importlib
import io
import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import celery
import pytest

import taskq_cloud.celery

SIDES = (celery, taskq_cloud.celery)


class Side:
    """An application of one library."""

    def __init__(self, package: ModuleType) -> None:
        self.package = package
        self.app = package.Celery("events", set_as_current=False, broker="memory://", backend="cache+memory://")
        self.events = importlib.import_module(f"{package.__name__}.events")

    def module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package.__name__}.events.{name}")

    def dispatcher(self, *args: Any, **kwargs: Any) -> tuple[Any, "Sink"]:
        kwargs.setdefault("hostname", "me@here")
        dispatcher = self.app.events.Dispatcher(*args, **kwargs)
        dispatcher.producer = sink = Sink()
        return dispatcher, sink


class Sink:
    """A producer that keeps what it gets, or is offline."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.offline = False

    def publish(self, event: Any, **options: Any) -> None:
        if self.offline:
            raise OSError("offline")
        plain = [_plain(each) for each in event] if isinstance(event, list) else _plain(event)
        options.pop("declare")
        self.kept.append((plain, options))


def _plain(event: Any) -> Any:
    shown = {key: event[key] for key in event if key not in ("timestamp", "pid", "utcoffset")}
    return shown | {"has": sorted({"timestamp", "pid", "utcoffset"} & event.keys())}


def _sent(side: Side) -> Any:
    dispatcher, sink = side.dispatcher()
    with dispatcher as given:
        given.send("task-sent", uuid="1", x=2)
        given.send("worker-online", blind=True, retry=True, retry_policy={"max_retries": 1})
        given.send("custom-a-b", timestamp=3.0)
    dispatcher.send("task-late")
    return sink.kept, dispatcher.headers, dispatcher.enabled, dispatcher.producer


def _disabled(side: Side) -> Any:
    called: list[str] = []
    dispatcher, sink = side.dispatcher(enabled=False)
    dispatcher.on_enabled.add(lambda: called.append("on"))
    dispatcher.on_disabled.add(lambda: called.append("off"))
    dispatcher.send("task-x")
    dispatcher.disable()
    dispatcher.enable()
    dispatcher.publisher = sink
    dispatcher.send("task-y")
    dispatcher.disable()
    dispatcher.disable()
    dispatcher.send("task-z")
    return sink.kept, called, dispatcher.enabled, dispatcher.publisher


def _groups(side: Side) -> Any:
    dispatcher, sink = side.dispatcher(groups=["worker"])
    dispatcher.send("task-x")
    dispatcher.send("worker-x")
    dispatcher.groups.add("task")
    dispatcher.send("task-y")
    return sink.kept


def _offline(side: Side) -> Any:
    dispatcher, sink = side.dispatcher(buffer_while_offline=True)
    sink.offline = True
    dispatcher.send("task-a")
    dispatcher.send("task-b")
    dispatcher.flush()
    counted = len(dispatcher._outbound_buffer)
    other, second = side.dispatcher()
    other.extend_buffer(dispatcher)
    other.flush()
    sink.offline = False
    dispatcher.flush(errors=False)
    kept = len(sink.kept)
    dispatcher.flush()
    return counted, second.kept, kept, sink.kept, len(dispatcher._outbound_buffer)


def _offline_without_buffer(side: Side) -> Any:
    dispatcher, sink = side.dispatcher(buffer_while_offline=False)
    sink.offline = True
    dispatcher.send("task-a")


def _collected(side: Side) -> Any:
    called: list[str] = []
    dispatcher, sink = side.dispatcher(
        buffer_group={"task"}, buffer_limit=3, on_send_buffered=lambda: called.append("kept")
    )
    for number in range(5):
        dispatcher.send("task-x", number=number)
    dispatcher.send("worker-x")
    before = len(sink.kept)
    dispatcher.flush(groups=False)
    dispatcher.flush()
    dispatcher.flush()
    return called, before, sink.kept


def _collected_while_offline(side: Side) -> Any:
    dispatcher, sink = side.dispatcher(buffer_group={"task"}, buffer_limit=10)
    dispatcher.send("task-x", number=1)
    sink.offline = True
    dispatcher.flush()
    sink.offline = False
    dispatcher.send("task-x", number=2)
    dispatcher.flush()
    return sink.kept


def _collected_while_closed(side: Side) -> Any:
    dispatcher, sink = side.dispatcher(buffer_group={"task"})
    dispatcher.send("task-x", number=1)
    dispatcher.close()
    dispatcher.flush()
    dispatcher.enable()
    dispatcher.producer = sink
    dispatcher.flush()
    return sink.kept


def _published(side: Side) -> Any:
    dispatcher, sink = side.dispatcher(enabled=False)
    other = Sink()
    dispatcher.publish("task-x", {"a": 1}, other, retry=True, retry_policy={"a": 1})
    dispatcher.publish("task-x", {"a": 1}, other, blind=True, Event=lambda kind, **fields: {"t": kind, **fields})
    dispatcher.publish("task-x", {"a": 1}, None)
    return other.kept, sink.kept


def _clock(side: Side) -> Any:
    dispatcher, _ = side.dispatcher()
    before = side.app.clock.value
    dispatcher.send("task-x")
    dispatcher.send("task-x", blind=True)
    clock = side.app.clock
    values = clock.value - before, clock.adjust(50), clock.forward(), str(clock), repr(clock)
    return values, clock.sort_heap([(1, "b"), (1, "a"), (2, "c")]), clock.sort_heap([(1, "b"), (2, "a")])


def _attributes(side: Side) -> Any:
    dispatcher, _ = side.dispatcher()
    names = ("buffer_limit", "delivery_mode", "serializer", "groups", "buffer_while_offline", "tzoffset", "hostname")
    exchange = dispatcher.exchange
    unnamed = side.app.events.Dispatcher(enabled=False)
    shown = (exchange.name, exchange.type), dispatcher.app is side.app, unnamed.hostname, unnamed.producer
    return [getattr(dispatcher, name) for name in names], shown, sorted(type(dispatcher).DISABLED_TRANSPORTS)


def _event(side: Side) -> Any:
    event = side.events.Event
    made = [
        event("task-sent", timestamp=1, x=2),
        event("task-sent", {"timestamp": 1, "y": 1}, x=2),
        event("x", __now__=lambda: 5),
        event("x", {"a": 1}, __dict__=lambda fields, **more: {**fields, **more, "own": 1}, __now__=lambda: 6),
    ]
    groups = [side.events.group_from(each) for each in ("task-sent", "custom-my-event", "plain")]
    redis = Mock()
    redis.transport.driver_type = "redis"
    exchanges = [side.events.get_exchange(redis), side.events.get_exchange(Mock(), name="own")]
    return made, groups, [(each.name, each.type) for each in exchanges], side.events.event_exchange.name


def _received(side: Side) -> Any:
    seen: list[Any] = []
    receiver = side.app.events.Receiver(
        Mock(), handlers={"task-sent": lambda e: seen.append(("sent", e)), "*": lambda e: seen.append(("*", e))}
    )
    side.app.clock.value = 10
    receiver._receive({"type": "task-sent", "clock": 99, "utcoffset": 2, "timestamp": 1000.0}, None)
    receiver._receive([{"type": "a", "clock": 40}, {"type": "b", "timestamp": 3.0}], None)
    receiver.process("c", {"x": 1})
    received = [type(event.pop("local_received", 0.0)).__name__ for _, event in seen]
    return seen, received, side.app.clock.value


def _not_localized(side: Side) -> Any:
    receiver = side.app.events.Receiver(Mock(), handlers={})
    kind, event = receiver.event_from_message(
        {"type": "x", "clock": 1, "utcoffset": 3, "timestamp": 5.0}, localize=False, now=lambda: 7
    )
    receiver.process("x", event)
    return kind, event


def _receivers_queue(side: Side) -> Any:
    shown = []
    for options in ({}, {"queue_ttl": 3, "queue_expires": 4}, {"queue_durable": True, "queue_exclusive": False}):
        receiver = side.app.events.Receiver(Mock(), node_id="node", routing_key="task.#", queue_prefix="p", **options)
        queue = receiver.queue
        names = ("name", "routing_key", "auto_delete", "durable", "exclusive", "message_ttl", "expires")
        shown.append([getattr(queue, name) for name in names])
    (consumer,) = receiver.get_consumers(lambda **kwargs: sorted(kwargs), None)
    return shown, consumer, sorted(receiver.accept), receiver.exchange.name


def _impossible_queue(side: Side) -> Any:
    side.app.events.Receiver(Mock(), queue_durable=True, queue_exclusive=True)


def _wakeup(side: Side) -> Any:
    side.app.control.broadcast = Mock()
    receiver = side.app.events.Receiver(Mock())
    receiver.on_consume_ready(None, "channel", [])
    receiver.on_consume_ready(None, "channel", [], wakeup=False)
    return [(call.args, sorted(call.kwargs)) for call in side.app.control.broadcast.call_args_list]


def _default_dispatcher(side: Side) -> Any:
    with side.app.events.default_dispatcher("host", enabled=False, buffer_while_offline=True) as dispatcher:
        shown = dispatcher.hostname, dispatcher.enabled, dispatcher.buffer_while_offline
    kinds = side.app.events.Dispatcher, side.app.events.Receiver, side.app.events.State
    return shown, [kind.__name__ for kind in kinds], [kind.app is side.app for kind in kinds]


def _dumped(side: Side) -> Any:
    out = io.StringIO()
    dumper = side.module("dumper").Dumper(out=out)
    common = {"timestamp": 1_700_000_000.5, "hostname": "h@x"}
    dumper.on_event({"type": "worker-online", **common})
    dumper.on_event({"type": "Worker-heartbeat", "b": 2, "a": 1, **common})
    dumper.on_event({"type": "custom-some-thing", **common})
    dumper.on_event({"type": "task-started", "uuid": f"u{id(out)}", **common})
    dumper.on_event({"type": "task-received", "uuid": "u", "name": "n", "args": "(1,)", "kwargs": "{}", **common})
    dumper.on_event({"type": "task-succeeded", "uuid": "u", "result": 3, **common})
    dumper.say("text")
    human = [side.module("dumper").humanize_type(each) for each in ("worker-offline", "Task-x-y")]
    return out.getvalue(), human


class _Timer:
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.cancelled = 0

    def call_repeatedly(self, seconds: float, function: Callable[[], Any]) -> Any:
        entry = Mock(side_effect=function)
        entry.cancel = lambda: setattr(self, "cancelled", self.cancelled + 1)
        self.calls.append((seconds, function.__name__))
        return entry


def _snapshot(side: Side) -> Any:
    noted: list[Any] = []

    class Camera(side.module("snapshot").Polaroid):  # type: ignore[misc]
        clear_after = True

        def on_shutter(self, state: Any) -> None:
            noted.append(("shutter", repr(state)))

        def on_cleanup(self) -> None:
            noted.append("cleanup")

    state, timer = side.app.events.State(), _Timer()

    def pictured(**_: Any) -> None:
        noted.append("shutter signal")

    def cleaned(**_: Any) -> None:
        noted.append("cleanup signal")

    Camera.shutter_signal.connect(pictured)
    Camera.cleanup_signal.connect(cleaned)
    state.event({"type": "worker-online", "hostname": "h", "timestamp": 1.0, "local_received": 1.0})
    with Camera(state, freq=2.0, cleanup_freq=20.0, timer=timer, app=side.app) as camera:
        camera.capture()
        camera.cleanup()
    slow = Camera(state, maxrate="1/h", timer=timer, app=side.app)
    slow.shutter()
    slow.shutter()
    return noted, timer.calls, timer.cancelled, len(state.workers), repr(state)


SCENARIOS = (
    *(_sent, _disabled, _groups, _offline, _offline_without_buffer, _collected, _collected_while_offline),
    *(_collected_while_closed, _published, _clock, _attributes, _event, _received, _not_localized),
    *(_receivers_queue, _impossible_queue, _wakeup, _default_dispatcher, _dumped, _snapshot),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_scenario_comes_to_celerys_outcome(scenario: Callable[[Side], Any]) -> None:
    outcomes = []
    for package in SIDES:
        try:
            outcomes.append(("returned", scenario(Side(package))))
        except Exception as error:
            outcomes.append(("raised", (type(error).__name__, str(error))))
    assert outcomes[1] == outcomes[0]
    assert (outcomes[0][0] == "raised") is (scenario in (_offline_without_buffer, _impossible_queue))


def test_event_is_written_to_log(caplog: pytest.LogCaptureFixture) -> None:
    app = Side(taskq_cloud.celery).app
    with (
        caplog.at_level(logging.DEBUG, "taskq_cloud.celery.events"),
        app.events.default_dispatcher("me@here") as dispatcher,
    ):
        dispatcher.send("task-sent", uuid="the-id")
    (record,) = [each for each in caplog.records if "task-sent" in each.getMessage()]
    assert "the-id" in record.getMessage()
    assert record.levelno == logging.DEBUG


def test_capture_without_transport_says_what_shows_it() -> None:
    app = Side(taskq_cloud.celery).app
    receiver = app.events.Receiver(app.connection())
    with pytest.raises(NotImplementedError, match="/healthz"):
        receiver.capture(limit=1)
    out = io.StringIO()
    with pytest.raises(NotImplementedError, match="/healthz"):
        importlib.import_module("taskq_cloud.celery.events.dumper").evdump(app=app, out=out)
    assert "starting capture" in out.getvalue()


def test_more_snapshots_are_allowed_later() -> None:
    bucket = importlib.import_module("taskq_cloud.celery.events.snapshot").TokenBucket(1000)
    assert bucket.can_consume()
    bucket._counted_at = time.monotonic() - 1
    assert bucket.can_consume()
