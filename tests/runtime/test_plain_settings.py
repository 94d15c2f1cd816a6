"""Test that the settings are read without pydantic as pydantic reads them in ``taskq_cloud.settings``.

A value is given to every setting at once: both readers name all the settings that refuse it.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import textwrap
from collections import ChainMap, OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from taskq_cloud import settings
from taskq_cloud.core.model.environments import variable_of
from taskq_cloud.core.model.settings_values import CELERY_NAMES
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime import plain_settings


class Serializer(StrEnum):
    JSON = "json"
    ONE = "1"


class Level(IntEnum):
    ONE = 1


class Plain(Enum):
    EVENTS = "events"


class Number:
    def __float__(self) -> float:
        return 3.0


SCALARS: list[Any] = [
    *["", "a", "5", " 5 ", "+5", "-5", "0", "00", "5.0", "5.", "5.00", ".0", "1_000", "1__0", "_1", "1e3", "0x10"],
    *["5.5", "nan", "inf", "-0.0", "\u0663", "1e400", "true", "True", " true", "t", "Y", "on", "n", "F", "off", "no"],
    *[0, 1, 2, -1, 5.0, 5.5, 0.0, -0.0, math.nan, math.inf, 1e300, True, False, None, 10**400, 2**70, complex(1)],
    *[b"5", b"a", b"\xff", b"true", bytearray(b"a"), bytearray(b"1"), memoryview(b"1"), Decimal(5), Decimal("5.5")],
    *[Decimal("nan"), Fraction(1), Fraction(1, 3), timedelta(minutes=2), timedelta(0), timedelta(-1), Number()],
    *[Serializer.JSON, Serializer.ONE, Level.ONE, object(), "json", "1" * 5000, "\ud800", "Europe/Paris", "UTC"],
]
DURATIONS = [
    *["P7D", "PT1H", "P1W", "P1Y", "P1M", "P1Y2M3DT4H5M6.5S", "P1.5D", "PT", "P", "P1DT", "p7d", "+P7D", "-P7D"],
    *["P7DT1H", "P1W2D", "P1D1H", "10:20", "1:20", "01:20:30.5", "3 days 10:20:30", "3d", "1 day, 10:00:00", " P7D"],
    *["P7S", "PT7D", "PT0,5S", "P10000000000D", "24:00:00", "10:60", "-01:20:30", b"P7D"],
]
COLLECTIONS: list[Any] = [
    *[[], ["a"], ("a", "b"), {"a"}, frozenset("a"), deque(["a"]), {"a": 1}.keys(), {1: "a"}.values(), [1], [None]],
    *[[b"a"], [b"\xff"], [Serializer.JSON], ["events", "auth"], ["events", "x"], [b"events"], range(1), b"a", [["a"]]],
    *[{}, {"a": 1}, {"a": "x"}, {1: "x"}, {b"a": "x"}, {b"\xff": "x"}, {Serializer.JSON: "x"}, OrderedDict(a="x")],
    *[MappingProxyType({"a": "x"}), ChainMap({"a": "x"}), [("a", "x")], {"a": {"queue": "x"}}, {"a": b"x"}],
    *[{"a": None}, {"a": True}, {"a": "5"}, {"a": {1: 2}}, {"a": [1]}, {"a": 5.5}, {"a": Decimal(5)}],
    *[{"a": MappingProxyType({"q": 1})}, {"a": 10**400}, {"a": Level.ONE}, {"a": Serializer.ONE}],
]
TEXTS = [each for each in [*SCALARS, *DURATIONS] if isinstance(each, str) and each.isascii() and len(each) < 5000]
JSON_TEXTS = [
    *["[]", '["a"]', '["events"]', "[1]", "{}", '{"a": 1}', '{"a": "x"}', '{"a": {"q": 1}}', '{"a": null}', "null"],
    *["5", '"a"', "true", "[", "", "a,b", '{"a": NaN}', '{"a": 1e400}', '[["a"]]'],
]
IN_JSON = [name for name, (kind, _) in plain_settings.SETTINGS.items() if kind in plain_settings._IN_JSON]
NAMES = [name for name in plain_settings.SETTINGS if name not in CELERY_NAMES.values()] + ["broker", "results"]


def comparable(value: Any) -> Any:
    """Make secrets of both readers comparable, and numbers of different types different."""
    if hasattr(value, "get_secret_value"):
        return ("secret", value.get_secret_value())
    if isinstance(value, tuple):
        return tuple(map(comparable, value))
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in value.items()}
    return (type(value).__name__, repr(value))


def values_of(loaded: Any) -> dict[str, Any]:
    return {name: comparable(getattr(loaded, name)) for name in settings.Settings.model_fields}


def same(plain: Any, full: Any) -> bool:
    return values_of(plain) == values_of(full)


def refused(load: Callable[[dict[str, Any]], Any], given: dict[str, Any]) -> set[str]:
    """Load settings, and return the names of the ones that are refused."""
    try:
        load(given)
    except ImproperlyConfigured as error:
        names = re.findall(r"(?:: |; |field \")([a-z_]+)(?:\.|: |\")", str(error))
        return {CELERY_NAMES.get(name, name) for name in names} & set(NAMES)
    return set()


def check_same(given: dict[str, Any], variables: Sequence[str] = ()) -> None:
    """Check that both readers refuse the same settings, and make the same of the others."""
    plain, full = (refused(load, given) for load in (plain_settings.load_settings, settings.load_settings))
    assert plain == full
    kept = {name: value for name, value in given.items() if name not in full}
    with pytest.MonkeyPatch.context() as patch:
        for name in full & set(variables):
            patch.delenv(variable_of(name))
        assert values_of(plain_settings.load_settings(kept)) == values_of(settings.load_settings(kept))


def test_names_and_defaults_are_those_of_the_settings() -> None:
    assert {*plain_settings.SETTINGS, "broker_url", "result_backend"} == settings.Settings.model_fields.keys()
    plain, full = plain_settings.load_settings({}), settings.load_settings({})
    assert same(plain, full)
    assert (plain.results_url(), plain.policy(0)) == (full.results_url(), full.policy(0))


@pytest.mark.parametrize(
    "value", [*SCALARS, *DURATIONS, *COLLECTIONS], ids=lambda value: f"{value!r:.30}".partition(" at 0x")[0]
)
def test_keyword_of_every_setting_is_read_or_refused_as_by_pydantic(value: Any) -> None:
    check_same(dict.fromkeys([name for name in NAMES if name != "timezone"], value))


@pytest.mark.parametrize("text", TEXTS)
def test_variable_of_every_setting_is_read_or_refused_as_by_pydantic(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name in NAMES if name not in {*IN_JSON, "timezone"}]
    for name in names:
        monkeypatch.setenv(variable_of(name), text)
    check_same({}, names)


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_variable_in_json_is_read_or_refused_as_by_pydantic(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in IN_JSON:
        with monkeypatch.context() as patch:
            patch.setenv(variable_of(name), text)
            check_same({}, [name])


@pytest.mark.parametrize("value", ["Europe/Paris", "UTC", None, 5, b"UTC", "Europe/Atlantis"])
def test_time_zone_is_read_or_refused_as_by_pydantic(value: Any) -> None:
    outcomes = []
    for load in (plain_settings.load_settings, settings.load_settings):
        try:
            outcomes.append(load({"timezone": value}).timezone)
        except ImproperlyConfigured:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


def test_all_wrong_settings_are_named_and_no_value_is_quoted() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        plain_settings.load_settings({"security_key": 12345, "worker_concurrency": 0, "imports": "shop"})
    assert str(caught.value) == (
        "wrong setting (keyword, TASKQ_... or .env): security_key: must be a text; imports: must be a list of texts; "
        "worker_concurrency: must be a whole number from 1"
    )


def test_applications_share_no_mapping() -> None:
    first, second = plain_settings.load_settings({}), plain_settings.load_settings({})
    shared = [name for name, value in vars(first).items() if isinstance(value, dict) and value is vars(second)[name]]
    assert shared == []
    given: dict[str, Any] = {"beat_schedule": {}}
    plain_settings.load_settings(given).beat_schedule["nightly"] = {}
    assert given == {"beat_schedule": {}}


def test_settings_cannot_be_changed() -> None:
    loaded = plain_settings.load_settings({})
    with pytest.raises(AttributeError, match="broker can't be changed any more"):
        loaded.broker = "memory://"
    with pytest.raises(AttributeError, match="broker can't be removed"):
        del loaded.broker


@pytest.mark.parametrize("first", ["0", "1"])
@pytest.mark.parametrize(
    "variables",
    [
        {"TASKQ_BROKER": "memory://"},
        {"TASKQ_BROKER_URL": "memory://"},
        {"TASKQ_BROKER_URL": "memory://", "TASKQ_COMMAND_LINE": '{"broker": "sqs:///line-"}'},
        {"TASKQ_TASK_ROUTES": '{"shop.*": {"queue": "mail"}, "b": "other"}'},
        {"TASKQ_TASK_ROUTES": '{"b": "other"}', "TASKQ_COMMAND_LINE": '{"task_routes": {"shop.*": "line"}}'},
        {"TASKQ_TASK_TIME_LIMIT": "60"},
    ],
)
def test_same_source_of_a_setting_wins_in_both(
    variables: dict[str, str], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TASKQ_ENVIRONMENT_FIRST": first, **variables}.items():
        monkeypatch.setenv(name, value)
    given = {"broker": "sqs:///shop-", "task_routes": {"shop.*": {"queue": "work", "x": 1}, "a": "work"}}
    assert same(plain_settings.load_settings(given), settings.load_settings(given))


FILES = [
    {".env": 'TASKQ_BROKER=memory://\ntaskq_task_time_limit=60\nTASKQ_TASK_ROUTES=\'{"a": {"y": 2}, "c": "file"}\'\n'},
    {".env": "TASKQ_BROKER_URL=memory://\nTASKQ_TASK_ROUTES\nOTHER=1\n"},
    {"staging.env": "TASKQ_BROKER=memory://\n", ".env": "TASKQ_BROKER=sqlite:///a.db\nTASKQ_WORKER_POOL=solo\n"},
    {".env": "TASKQ_WORKER_CONCURRENCY=many\n"},
]


@pytest.mark.parametrize("variables", [{}, {"TASKQ_BROKER": "sqs:///env-"}, {"TASKQ_TASK_ROUTES": '{"a": {"z": 3}}'}])
@pytest.mark.parametrize("first", ["0", "1"])
@pytest.mark.parametrize("files", FILES)
def test_file_of_variables_is_read_as_by_pydantic(
    files: dict[str, str], first: str, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for variable, value in {"TASKQ_ENVIRONMENT_FIRST": first, **variables}.items():
        monkeypatch.setenv(variable, value)
    if "staging.env" in files:
        monkeypatch.setenv("TASKQ_ENV_FILE", "staging.env")
    for given in ({}, {"broker": "sqs:///shop-", "task_routes": {"a": {"x": 1}, "b": "work"}}):
        if "many" in files[".env"]:
            assert refused(plain_settings.load_settings, given) == refused(settings.load_settings, given)
        else:
            assert same(plain_settings.load_settings(given), settings.load_settings(given))


@pytest.mark.parametrize("name", [None, "staging.env"])
def test_file_that_nothing_can_read_is_not_passed_over(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / (name or ".env")).write_text("TASKQ_BROKER=memory://")
    if name:
        monkeypatch.setenv("TASKQ_ENV_FILE", name)
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(ImproperlyConfigured, match=rf"'{name or '.env'}' can't be read without pydantic-settings"):
        plain_settings.load_settings({})


def test_signing_keys_are_read_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_MESSAGE_SIGNING_KEYS", "one,two")
    for load in (plain_settings.load_settings, settings.load_settings):
        loaded: Any = load({})
        assert [key.get_secret_value() for key in loaded.message_signing_keys] == ["one", "two"]
        assert "one" not in repr(loaded.message_signing_keys)


@pytest.mark.parametrize("load", [plain_settings.load_settings, settings.load_settings])
def test_unknown_setting_is_refused_by_both(load: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match="brokre"):
        load({"brokre": "memory://"})


PRODUCER = textwrap.dedent(
    """
    import importlib.abc
    import sys

    class Block(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("pydantic", "pydantic_settings", "aiobotocore", "boto3", "click"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Block())
    from taskq_cloud import TaskQ

    app = TaskQ("shop", broker="sqs://eu-west-1/", results="disabled://")
    app.send_task("add", [1, 2], queue=sys.argv[1])
    """
)


@pytest.mark.slow
def test_producer_sends_without_pydantic(
    aws_environment: dict[str, str], sqs_client: Any, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("work")
    environment = {**os.environ, **aws_environment}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCER, queue], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
    assert len(sqs_client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]) == 1
