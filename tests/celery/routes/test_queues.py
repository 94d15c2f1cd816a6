"""Declared queues: each scenario runs on Celery's and on ours, and both must come to the same outcome."""

import copy
import importlib
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import celery
import celery.app.amqp
import pytest

import taskq_cloud.celery
import taskq_cloud.celery.app.amqp
from taskq_cloud.celery import messaging

kombu: Any = importlib.import_module("kombu")  # its types don't name its classes
PAIRS = [(celery, kombu), (taskq_cloud.celery, messaging), (taskq_cloud.celery, kombu)]
ALL = pytest.mark.parametrize(("package", "library"), PAIRS, ids=["celery", "ours", "ours with kombu's queues"])


def _app(package: ModuleType, **settings: Any) -> Any:
    return package.Celery("queues", set_as_current=False, changes=settings)


def _described(queue: Any) -> dict[str, Any]:
    described = queue.as_dict(recurse=True)
    assert isinstance(described, dict)
    return described


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "default queue": {"task_default_queue": "mine"},
    "default exchange": {
        "task_default_queue": "mine",
        "task_default_exchange": "ex",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "key.#",
    },
    "quorum": {"task_default_queue_type": "quorum", "task_create_missing_queue_type": "quorum"},
    "priorities": {"task_queue_max_priority": 7},
    "exchange of missing queues": {"task_create_missing_queue_exchange_type": "topic"},
    "mapping": {
        "task_queues": {
            "a": {"exchange": "ex", "exchange_type": "topic", "binding_key": "a.#", "durable": False},
            "b": {"routing_key": "b.key", "queue_arguments": {"x": 1}, "queue_durable": False, "max_priority": 3},
            "c": {},
        }
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_tables_of_queues_are_equal(settings: dict[str, Any]) -> None:
    outcomes = []
    for package in (celery, taskq_cloud.celery):
        amqp = _app(package, **copy.deepcopy(settings)).amqp
        asked_for = _described(amqp.queues["new"])
        outcomes.append(
            (
                asked_for,
                {name: _described(queue) for name, queue in amqp.queues.items()},
                sorted(amqp.queues.consume_from),
                _described(amqp.default_queue),
                str(amqp.default_exchange),
                amqp.queues.format(indent=2),
                amqp.queues.format(indent=2, indent_first=False),
                repr(amqp.default_queue),
            )
        )
    assert outcomes[0] == outcomes[1]


@ALL
def test_queue_is_found_by_alias(package: ModuleType, library: Any) -> None:
    queue = library.Queue("long.name", alias="short")
    queues = package.app.amqp.Queues([queue], create_missing=False)
    assert queues["short"] is queues["long.name"] is queue
    assert sorted(queues) == ["long.name"]
    queues.deselect("short")
    assert queues.consume_from == {}


@ALL
def test_queue_without_exchange_and_key_gets_the_defaults(package: ModuleType, library: Any) -> None:
    default = library.Exchange("default", "topic")
    queues = package.app.amqp.Queues(
        [library.Queue("bare"), library.Queue("own", library.Exchange("own"), "own.key")],
        default_exchange=default,
        default_routing_key="default.key",
    )
    assert (queues["bare"].exchange, queues["bare"].routing_key) == (default, "default.key")
    assert (queues["own"].exchange.name, queues["own"].routing_key) == ("own", "own.key")


@ALL
def test_missing_queue_is_created_or_refused(package: ModuleType, library: Any) -> None:
    queues = package.app.amqp.Queues(create_missing=True)
    assert queues["made"].exchange.name == queues["made"].routing_key == "made"
    assert queues["made"] is queues["made"]
    assert package.app.amqp.Queues(autoexchange=lambda name: None)["made"].exchange.name == ""
    with pytest.raises(KeyError, match="absent"):
        package.app.amqp.Queues(create_missing=False)["absent"]
    with pytest.raises(ValueError, match=r"Invalid queue type 'lazy'\. Valid types are 'classic' and 'quorum'\."):
        package.app.amqp.Queues(create_missing_queue_type="lazy")["made"]


@ALL
def test_consumed_queues_are_selected(package: ModuleType, library: Any) -> None:
    def names() -> list[str]:
        return sorted(queues.consume_from)

    queues = package.app.amqp.Queues([library.Queue(name) for name in "abc"])
    queues["created"]
    queues.select(None)
    queues.deselect(())
    assert names() == ["a", "b", "c"]
    queues.deselect(["a", "unknown"])
    assert names() == ["b", "c"]
    assert queues.select_add("d", routing_key="d.key").routing_key == "d.key"
    assert names() == ["b", "c", "d"]
    queues.select("a")
    queues.select(["a", "new"])
    assert names() == ["a", "new"]
    queues.select_add(library.Queue("e"))
    queues.deselect("a")
    assert names() == ["e", "new"]
    assert package.app.amqp.Queues().format() == ""


@ALL
def test_priority_of_table_is_given_to_queues_without_one(package: ModuleType, library: Any) -> None:
    queues = package.app.amqp.Queues(
        [library.Queue("a"), library.Queue("b", queue_arguments={"x-max-priority": 2, "x": 1})], max_priority=9
    )
    queues.add("c")
    queues.add_compat("d", binding_key="d.key")
    assert {name: queue.queue_arguments for name, queue in queues.items()} == {
        "a": {"x-max-priority": 9},
        "b": {"x-max-priority": 2, "x": 1},
        "c": {"x-max-priority": 9},
        "d": {"x-max-priority": 9},
    }
    assert queues["d"].routing_key == "d.key"


@ALL
def test_queues_can_be_assigned(package: ModuleType, library: Any) -> None:
    app = _app(package)
    app.amqp.queues = {"a": library.Queue("a")}
    assert isinstance(app.amqp.queues, package.app.amqp.Queues)
    assert sorted(app.amqp.queues) == ["a"]
    assert app.amqp.queues["a"].exchange.name == "celery"


DECLARATIONS: dict[str, Callable[[Any], Any]] = {
    "bare queue": lambda library: library.Queue(),
    "queue": lambda library: library.Queue("q", "ex", "key"),
    "queue with attributes": lambda library: library.Queue(
        "q",
        library.Exchange("ex", "topic", durable=False, delivery_mode="transient", arguments={"a": 1}),
        "key.*",
        alias="other",
        queue_arguments={"x": 1},
        exclusive=True,
        no_ack=True,
        expires=3,
        message_ttl="4",
        max_length=5.0,
        max_priority=6,
        no_declare=1,
    ),
    "queue with bindings": lambda library: library.Queue("q", [library.entity.binding(library.Exchange("e"), "k")]),
    "queue from attributes": lambda library: library.Queue.from_dict(
        "q", exchange="e", exchange_type="fanout", binding_key="b", routing_key="r", auto_delete=True, max_length=2
    ),
    "exchange": lambda library: library.Exchange(),
    "named exchange": lambda library: library.Exchange("e'x", type="fanout", auto_delete=True, passive=True),
    "binding": lambda library: library.Exchange("e").binding("key"),
}


@pytest.mark.parametrize("make", DECLARATIONS.values(), ids=DECLARATIONS)
def test_declarations_are_kombus(make: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messaging, "entity", messaging, raising=False)
    theirs, ours = make(kombu), make(messaging)
    assert (repr(ours), str(ours)) == (repr(theirs), str(theirs))
    if hasattr(theirs, "bindings") and theirs.bindings:
        for each in (theirs, ours):
            described = _described(each)
            described["bindings"] = [binding["routing_key"] for binding in described["bindings"]]
        assert ours.name == theirs.name
    else:
        assert _described(ours) == _described(theirs)
    for copied in (copy.copy(ours), pickle.loads(pickle.dumps(ours))):
        assert _described(copied) == _described(ours)
        assert type(copied) is type(ours)


def test_declarations_equal_kombus() -> None:
    for theirs, ours in (
        (kombu.Exchange("e", "topic"), messaging.Exchange("e", "topic")),
        (kombu.Queue("q", kombu.Exchange("e"), "k"), messaging.Queue("q", messaging.Exchange("e"), "k")),
    ):
        assert ours == theirs
        assert theirs == ours
        assert hash(ours) == hash(theirs)
    assert messaging.Queue("a") != messaging.Queue("b")
    assert messaging.Queue("a") != "a"
    assert messaging.Exchange("a") != messaging.Queue("a")


@pytest.mark.parametrize("mode", [None, 1, 2, "transient", "persistent"])
def test_delivery_modes_are_kombus(mode: Any) -> None:
    assert messaging.maybe_delivery_mode(mode) == kombu.entity.maybe_delivery_mode(mode)


def test_task_consumer_names_the_way_out() -> None:
    with pytest.raises(taskq_cloud.celery.exceptions.ImproperlyConfigured, match="`taskq worker`"):
        _app(taskq_cloud.celery).amqp.TaskConsumer(object())
