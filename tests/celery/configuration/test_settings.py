"""The configuration of an application, beside Celery's own."""

from __future__ import annotations

import copy
import pickle
from collections import deque
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from taskq_cloud.celery.app.utils import PendingConfiguration, Settings, detect_settings, load_config
from tests.celery.configuration.comparing import compare

Scenario = Callable[[Any], Any]

NEW = {"task_routes": {"a": "b"}, "result_expires": 3, "own": 1}
OLD = {"CELERY_TASK_RESULT_EXPIRES": 4, "BROKER_URL": "amqp://u:p@h//", "CELERY_ROUTES": None}

READS: dict[str, Scenario] = {
    "attribute": lambda conf: conf.result_expires,
    "item": lambda conf: conf["result_expires"],
    "old item": lambda conf: conf["CELERY_TASK_RESULT_EXPIRES"],
    "old attribute": lambda conf: conf.CELERYD_POOL,
    "get": lambda conf: (conf.get("own"), conf.get("nothing"), conf.get("nothing", 3), conf.get("worker_pool")),
    "missing item": lambda conf: conf["nothing"],
    "missing attribute": lambda conf: conf.nothing,
    "in": lambda conf: ["own" in conf, "worker_pool" in conf, "BROKER_URL" in conf, "nothing" in conf],
    "len": len,
    "keys": lambda conf: set(conf.keys()),
    "iteration": set,
    "values": lambda conf: len(list(conf.values())),
    "items": lambda conf: [(k, v) for k, v in conf.items() if k in {"own", "task_routes", "worker_pool"}],
    "bool": bool,
    "first": lambda conf: conf.first("nothing", "timezone", "worker_pool", "own"),
    "first of none": lambda conf: conf.first("nothing", "timezone"),
    "table": lambda conf: conf.table(),
    "uncensored table": lambda conf: conf.table(with_defaults=False, censored=False),
    "humanize": lambda conf: conf.humanize(),
    "changes": lambda conf: conf.changes,
    "without defaults": lambda conf: dict(conf.without_defaults().items()),
    "value set": lambda conf: [conf.value_set_for(key) for key in ("own", "task_routes", "result_expires", "timezone")],
    "find option": lambda conf: conf.find_option("disable_rate_limits")[:2],
    "find value": lambda conf: (conf.find_value_for_key("always_eager"), conf.find_value_for_key("pool", "worker")),
    "find nothing": lambda conf: conf.find_value_for_key("nothing"),
    "parts": lambda conf: (conf.get_by_parts("worker", "pool"), conf.get_by_parts(None, "timezone")),
    "broker": lambda conf: (conf.broker_url, conf.broker_read_url, conf.broker_write_url, conf.result_backend),
    "exchange": lambda conf: (conf.task_default_exchange, conf.task_default_routing_key, conf.task_default_priority),
    "zone": lambda conf: conf.timezone,
    "deprecated": lambda conf: conf.deprecated_settings,
    "bad key": lambda conf: conf[3],
}


def set_attribute(conf: Any) -> None:
    conf.result_expires = 9


def set_item(conf: Any) -> None:
    conf["CELERY_TASK_RESULT_EXPIRES"] = 9


def delete(conf: Any) -> None:
    conf["own2"] = 1
    del conf["own2"]


def add_defaults(conf: Any) -> None:
    conf.add_defaults({"result_expires": 5, "new": 6})
    conf.add_defaults(SimpleNamespace(result_expires=7))


CHANGES: dict[str, Scenario] = {
    "attribute": set_attribute,
    "item": set_item,
    "update": lambda conf: conf.update({"own": 2}, other=3),
    "update by pairs": lambda conf: conf.update([("own", 2)]),
    "update by keywords": lambda conf: conf.update(worker_pool="solo"),
    "update wrongly": lambda conf: conf.update({}, {}),
    "setdefault": lambda conf: (conf.setdefault("own", 4), conf.setdefault("more", 4)),
    "pop": lambda conf: conf.pop("deprecated_settings"),
    "pop a default": lambda conf: conf.pop("worker_pool"),
    "pop with default": lambda conf: conf.pop("worker_pool", 3),
    "delete": delete,
    "delete a default": lambda conf: conf.__delitem__("worker_pool"),
    "clear": lambda conf: conf.clear(),
    "defaults": add_defaults,
    "copy": lambda conf: (copy.copy(conf).update(own=99), conf.copy().update(own=98)),
}


def conf_of(module: ModuleType, given: dict[str, Any], preconf: dict[str, Any], prefix: str | None) -> Any:
    return module.detect_settings(dict(given), dict(preconf), prefix=prefix)


CONFIGURATIONS: list[Any] = [
    pytest.param(NEW, {}, None, id="new"),
    pytest.param(OLD, {}, None, id="old"),
    pytest.param({}, {"result_expires": 8, "own": 3}, None, id="set before"),
    pytest.param(OLD, {"result_expires": 8}, None, id="set before in the new format"),
    pytest.param(
        {"CELERY_RESULT_EXPIRES": 3, "CELERY_TIMEZONE": "Asia/Tokyo", "task_routes": 1, "TIME_ZONE": "UTC"},
        {"worker_pool": "solo"},
        "CELERY",
        id="prefix",
    ),
    pytest.param({"shop_result_expires": 3, "own": 1}, {}, "shop_", id="lower prefix"),
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("given", "preconf", "prefix"), CONFIGURATIONS)
def test_reading_has_celerys_outcome(read: str, given: Any, preconf: Any, prefix: Any) -> None:
    compare("app.utils", lambda module: READS[read](conf_of(module, given, preconf, prefix)))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("given", "preconf", "prefix"), CONFIGURATIONS)
def test_changing_has_celerys_outcome(change: str, given: Any, preconf: Any, prefix: Any) -> None:
    def changed(module: ModuleType) -> Any:
        conf = conf_of(module, given, preconf, prefix)
        answer = CHANGES[change](conf)
        values = [conf.get(key) for key in ("result_expires", "own", "other", "more", "new", "worker_pool")]
        return answer, values, conf.changes, conf.table()

    compare("app.utils", changed)


@pytest.mark.parametrize(
    "given",
    [
        {"result_backend": "a", "CELERY_ROUTES": {}},
        {"result_backend": "a", "CELERY_ROUTES": {}, "BROKER_URL": "amqp://b"},
        {"result_backend": "a", "task_routes": {}, "BROKER_URL": "amqp://b", "CELERYD_POOL": "solo"},
        {"result_expires": 1, "CELERY_TASK_RESULT_EXPIRES": 1},
        {"result_expires": 1, "CELERY_TASK_RESULT_EXPIRES": 1, "task_routes": {}},
        {"own": 1},
        {},
    ],
)
@pytest.mark.parametrize("prefix", [None, "CELERY"])
@pytest.mark.parametrize("before", [False, True])
def test_mixed_names_have_celerys_outcome(given: dict[str, Any], prefix: str | None, before: bool) -> None:
    def detected(module: ModuleType) -> Any:
        conf = (
            module.detect_settings(None, dict(given), prefix=prefix)
            if before
            else module.detect_settings(dict(given), {"task_serializer": "yaml"}, {"own"}, prefix)
        )
        return conf.table(), conf.deprecated_settings

    compare("app.utils", detected)


def test_mixed_names_are_refused_with_the_names_to_change() -> None:
    error, text = compare(
        "app.utils", lambda module: module.detect_settings({"task_routes": 1, "result_backend": 1, "CELERYD_POOL": 1})
    )
    assert error == "ImproperlyConfigured"
    assert "CELERYD_POOL                         -> worker_pool" in text


@pytest.mark.parametrize(
    "variable", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"]
)
def test_variable_of_the_environment_wins_as_in_celery(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "memory://there")
    found = compare("app.utils", lambda module: READS["broker"](conf_of(module, {"broker_url": "sqs://"}, {}, None)))
    assert "memory://there" in found


def test_old_names_are_warned_of() -> None:
    conf = detect_settings({"CELERYD_POOL": "solo"})
    with pytest.warns(DeprecationWarning, match="Use the worker_pool instead"):
        assert conf.maybe_warn_deprecated_settings()
    assert not detect_settings({"worker_pool": "solo"}).maybe_warn_deprecated_settings()


def test_settings_can_be_copied_deeply_and_pickled() -> None:
    conf = detect_settings({"own": [1], "CELERY_POOL": 1}, {"worker_pool": "solo"}, prefix="CELERY")
    for again in (copy.deepcopy(conf), pickle.loads(pickle.dumps(conf))):
        assert (again.own, again.worker_pool, again.timezone) == ([1], "solo", None)
        again.own.append(2)
        again.worker_pool = "threads"
        assert (conf.own, conf.worker_pool) == ([1], "solo")


# -- the generation

IN_PLACE: dict[str, Scenario] = {
    "beat_schedule": lambda conf: conf.beat_schedule.update(report={}),
    "a list": lambda conf: conf.include.append("shop"),
    "the changes": lambda conf: conf.changes.update(worker_pool="solo"),
    "the configuration that was read": lambda conf: conf.maps[1].update(worker_pool="solo"),
    "swapped": lambda conf: conf.swap_with(detect_settings({})),
}


@pytest.mark.parametrize("change", [*CHANGES, *IN_PLACE])
def test_generation_grows_with_each_change(change: str) -> None:
    conf = detect_settings({"own": 1, "include": []})
    before = conf.generation
    assert conf.generation == before
    try:
        (CHANGES | IN_PLACE)[change](conf)
    except (KeyError, TypeError):
        assert conf.generation == before
        return
    unchanged = change == "copy"
    assert (conf.generation == before) is unchanged
    assert conf.generation >= before
    assert conf.generation == conf.generation


def test_generations_of_two_settings_differ() -> None:
    assert detect_settings({}).generation != detect_settings({}).generation


def test_generation_does_not_read_the_configuration() -> None:
    conf = Settings(PendingConfiguration({}, lambda: pytest.fail("it was read")))
    before = conf.generation
    conf.worker_pool = "solo"
    assert conf.generation > before


# -- before the configuration is read


@pytest.mark.parametrize("path", ["celery.app.base", "taskq_cloud.celery.app.utils"])
def test_pending_configuration_is_read_by_the_first_lookup(path: str) -> None:
    from importlib import import_module

    read: list[int] = []

    def callback() -> dict[str, int]:
        read.append(1)
        return {"a": 1, "b": 2}

    set_before: dict[str, Any] = {}
    pending = import_module(path).PendingConfiguration(set_before, callback)
    pending["x"] = 1
    pending.y = 2
    pending.update({"z": 3})
    assert pending.setdefault("z", 4) == 3
    assert ("x" in pending, "a" in pending) == (True, False)
    assert not read
    assert set_before == {"x": 1, "y": 2, "z": 3}
    assert (pending["a"], pending.b, len(pending), repr(pending), sorted(pending)) == (
        1,
        2,
        2,
        "{'a': 1, 'b': 2}",
        ["a", "b"],
    )
    assert read == [1]
    with pytest.raises(KeyError):
        pending["nothing"]
    pending.clear()
    assert set_before == {}


class Loaded:
    """An application whose loader has read a configuration."""

    def __init__(self, found: Any) -> None:
        self.loader = SimpleNamespace(conf=found, config_from_object=self.take)

    def take(self, source: Any, silent: bool) -> None:
        self.loader.conf = {**source, "silent": silent}

    def prepare_config(self, found: Any) -> Any:
        return found


def test_load_config_joins_source_changes_and_defaults() -> None:
    defaults: deque[Callable[[], Any]] = deque([lambda: {"own": 1, "worker_pool": "solo"}])
    held = Settings({})
    conf = load_config(Loaded(None), {"worker_pool": "threads"}, {"include": ["shop"]}, defaults, None, True, conf=held)
    assert conf is held
    assert (conf.worker_pool, conf.include, conf.own, conf.silent) == ("solo", ["shop"], 1, True)
    assert not defaults


def test_load_config_ignores_names_that_the_constructor_set() -> None:
    conf = load_config(
        Loaded({"CELERYD_POOL": "solo"}),
        None,
        {"broker_url": "x"},
        deque(),
        None,
        False,
        set_by_constructor={"broker_url"},
    )
    assert (conf.worker_pool, conf.broker_url) == ("solo", "x")
