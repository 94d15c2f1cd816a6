"""Options: the values that declarations, calls and retries take, and that every worker can then run."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from taskq_cloud import TaskQ
from taskq_cloud.calling.options import call_options, make_message
from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.messages.headers import RESERVED_HEADERS
from taskq_cloud.core.model import option_values
from taskq_cloud.core.model.option_values import CALL, DECLARED, LARGEST_NUMBER, LONGEST_DELAY_SECONDS, RETRY, check
from taskq_cloud.core.model.options import TaskOptions, retry_arguments, task_options
from taskq_cloud.core.workflows.signatures import checked_options, signature_of
from taskq_cloud.errors import ImproperlyConfigured, InvalidTaskError, OptionError, TaskQError

ID = UUID("12e80bd4-433a-40f1-ba80-d3983459a61c")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Queue(enum.StrEnum):
    MAIL = "mail"


class Colour(str, enum.Enum):  # noqa: UP042 - such enumerations are older than StrEnum, and show themselves otherwise
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 7


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


KEPT: list[tuple[str, Any, Any]] = [
    ("time_limit", timedelta(minutes=5), 300.0),
    ("time_limit", 30, 30),
    ("time_limit", 0, None),
    ("soft_time_limit", 0.5, 0.5),
    ("expires", timedelta(days=1), 86400.0),
    ("priority", 5.0, 5),
    ("priority", Level.HIGH, 7),
    ("queue", Queue.MAIL, "mail"),
    ("ignore_result", 1, True),
]
"""Options that declarations and calls have in common: name, value, and the form in which the value is kept."""

KEPT_BY_CALLS: list[tuple[str, Any, Any]] = [
    ("countdown", timedelta(seconds=90), 90.0),
    ("countdown", -5, -5),
    ("eta", datetime(2030, 1, 1, 12), NOON),
    ("eta", "2030-01-01T12:00:00Z", NOON),
    ("expires", NOON, NOON),
    ("task_id", ID, str(ID)),
    ("task_id", "daily", "daily"),
    ("task_id", Colour.RED, "red"),
    ("shadow", Colour.RED, "red"),
    ("task_id", "é" * 127, "é" * 127),
    ("headers", {"tenant": 1}, {"tenant": 1}),
    ("message_attributes", {"tenant": "acme"}, {"tenant": "acme"}),
]

KEPT_BY_DECLARATIONS: list[tuple[str, Any, Any]] = [
    ("max_retries", None, None),
    ("max_retries", 3.0, 3),
    ("default_retry_delay", timedelta(minutes=1), 60.0),
    ("retry_backoff", timedelta(seconds=2), 2.0),
    ("retry_backoff", True, True),
    ("retry_backoff_max", timedelta(hours=1), 3600.0),
    ("autoretry_for", ValueError, (ValueError,)),
    ("autoretry_for", [OSError, (KeyError, ValueError)], (OSError, KeyError, ValueError)),
    ("dont_autoretry_for", OSError, (OSError,)),
    ("throws", KeyError, (KeyError,)),
    (
        "retry_kwargs",
        {"countdown": timedelta(seconds=3), "max_retries": None, "queue": "slow"},
        {"countdown": 3.0, "queue": "slow"},
    ),
    ("priority", None, None),
    ("reject_on_worker_lost", None, True),
]

REFUSED: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("time_limit", "soft_time_limit")
        for value in ("300", -1, math.inf, math.nan, True, 2**40)
    ),
    *(("priority", value) for value in (-1, 5.5, "high", True, math.inf, LARGEST_NUMBER, Decimal(5))),
    *(("expires", value) for value in (math.nan, 1e12, "soon", [1], date(2030, 1, 1))),
    *(("queue", value) for value in (5, "", "a\0b", "\ud800", b"mail", ["mail"])),
    *(("serializer", value) for value in (5, "")),
    *(("compression", value) for value in (5, True)),
    *(("ignore_result", value) for value in ("no", 2, 1.0)),
    ("priority", Unshowable()),
]
"""Options that neither a declaration nor a call may have."""

REFUSED_BY_CALLS: list[tuple[str, Any]] = [
    *(
        ("countdown", value)
        for value in ("5", math.nan, math.inf, 1e12, -1e12, Decimal(5), Fraction(1, 2), timedelta.max)
    ),
    *(
        ("eta", value)
        for value in (5, "tomorrow", date(2030, 1, 1), datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))))
    ),
    *(
        ("task_id", value)
        for value in (42, "", b"id", "a\0b", "line\n", "\ud800", "x" * 256, "é" * 128, "😀" * 64, object(), ["x"])
    ),
    *(("headers", value) for value in ("text", [("a", 1)], {1: 2}, {"": 1})),
    *(("message_attributes", value) for value in ({"a": 1}, {1: "a"}, ["a"])),
    *(
        (name, 5)
        for name in ("shadow", "argsrepr", "kwargsrepr", "MessageGroupId", "MessageDeduplicationId", "trace_header")
    ),
    ("add_to_parent", "yes"),
    ("link", 5),
    ("link", ["text"]),
    ("link_error", {"no": "task"}),
]

REFUSED_BY_DECLARATIONS: list[tuple[str, Any]] = [
    *(("max_retries", value) for value in ("3", -1, 1.5, True)),
    *(("default_retry_delay", value) for value in ("180", None, -1, math.nan, LONGEST_DELAY_SECONDS + 1)),
    *(("retry_backoff", value) for value in ("2", None, -1, math.inf)),
    *(("retry_backoff_max", value) for value in (None, "600", math.inf)),
    *(
        (name, value)
        for name in ("autoretry_for", "dont_autoretry_for", "throws")
        for value in (("ValueError",), "ValueError", None, 5, (int,), ValueError("instance"))
    ),
    *(
        ("retry_kwargs", value)
        for value in (
            {"max_retry": 0},
            {"max_retries": "0"},
            {"countdown": "5"},
            {"countdown": math.nan},
            ["countdown"],
            None,
            {1: 2},
        )
    ),
    *((name, value) for name in ("once", "typing", "trail", "retry_jitter") for value in ("yes", None)),
    *(("memory_mb", value) for value in (0, -5, "512", 1.5)),
    *(("runtime", value) for value in ("fargate", None, 5)),
    *(("rate_limit_scope", value) for value in ("cluster", None)),
    ("expires", NOON),
    ("rate_key", 5),
]


@pytest.mark.parametrize(("name", "value", "kept"), [*KEPT, *KEPT_BY_DECLARATIONS])
def test_declaration_keeps_value_in_its_plain_form(name: str, value: Any, kept: Any) -> None:
    found = getattr(task_options("shop.pay", {name: value}), name)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(("name", "value"), [*REFUSED, *REFUSED_BY_DECLARATIONS])
def test_declaration_refuses_value_that_no_worker_can_obey(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^task shop\.pay: {name}"):
        task_options("shop.pay", {name: value})


@pytest.mark.parametrize(("name", "value", "kept"), [*KEPT, *KEPT_BY_CALLS])
def test_call_keeps_value_in_its_plain_form(name: str, value: Any, kept: Any) -> None:
    found = getattr(call_options("shop.pay", {name: value}), name)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(("name", "value"), [*REFUSED, *REFUSED_BY_CALLS])
def test_call_refuses_value_that_no_worker_can_obey(name: str, value: Any) -> None:
    with pytest.raises((OptionError, InvalidTaskError)) as caught:
        call_options("shop.pay", {name: value})
    if isinstance(caught.value, OptionError):
        assert str(caught.value).startswith(f"task shop.pay: {name}")
        assert isinstance(caught.value, TypeError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("name", "value"), [each for each in REFUSED if each[0] in RETRY])
def test_retry_refuses_what_a_call_refuses(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^retry: {name}"):
        retry_arguments({name: value}, "retry")


@pytest.mark.parametrize(("name", "value"), [each for each in (*REFUSED, *REFUSED_BY_CALLS) if each[0] in CALL])
def test_signature_from_elsewhere_is_checked_as_a_call_is(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"^task shop\.pay: {name}"):
        checked_options(signature_of("shop.pay", options={"task_id": "t-1", name: value}))


def test_option_of_none_leaves_the_decision_to_others() -> None:
    assert call_options("shop.pay", dict.fromkeys([*CALL, "link", "link_error"])) == call_options("shop.pay", {})


def test_soft_limit_over_the_hard_one_is_refused_in_a_call_too() -> None:
    with pytest.raises(OptionError, match=r"soft_time_limit \(20 s\) is over time_limit \(10 s\)"):
        call_options("shop.pay", {"time_limit": 10, "soft_time_limit": 20})


def test_tables_have_every_option() -> None:
    known = {*DECLARED, "rate_limit", "rate_limit_burst"}
    assert known == set(TaskOptions.__dataclass_fields__)
    assert {*CALL, "link", "link_error"} == set(type(call_options("t", {})).__dataclass_fields__)


def test_value_without_a_repr_is_refused_like_any_other() -> None:
    with pytest.raises(OptionError, match="countdown must be a number of seconds"):
        check(option_values.DELAY, "countdown", Unshowable())


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2)
)


@given(options=st.dictionaries(st.sampled_from(sorted(CALL)), anything, max_size=4))
def test_options_that_a_call_takes_come_out_of_its_message(options: Mapping[str, Any]) -> None:
    try:
        checked = call_options("shop.pay", options)
    except TaskQError:
        return
    message = make_message("shop.pay", (), {}, checked, TaskOptions())
    assume(RESERVED_HEADERS.isdisjoint(message.headers))  # which encode() refuses
    text = protocol.encode(message, "mail")
    read = events.read(text, "broker-id", ("json",), {})
    assert (read.id, read.timelimit, read.priority) == (message.id, message.timelimit, message.priority)
    assert (read.eta, read.expires, read.ignore_result) == (message.eta, message.expires, message.ignore_result)
    assert (read.shadow, read.headers) == (message.shadow, message.headers)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        *(("headers", "timelimit", [value, None]) for value in ("300", -1, 2**40, True, [1])),
        *(
            ("headers", name, value)
            for name in ("id", "root_id", "group")
            for value in ("a\0b", [1], {"a": 1}, "x" * 300)
        ),
        *(("headers", name, -1) for name in ("retries", "group_index", "replaced_task_nesting")),
        ("headers", "ignore_result", "no"),
        ("headers", "stamped_headers", "tenant"),
        ("headers", "shadow", {"a": 1}),
        ("headers", "eta", 5),
        ("properties", "priority", "high"),
        ("properties", "priority", -1),
        ("properties", "reply_to", 5),
    ],
)
def test_message_written_elsewhere_is_checked_as_a_call_is(place: str, name: str, value: Any) -> None:
    message = {"headers": {"task": "shop.pay", "id": "t-1"}, "properties": {}, "body": json.dumps([[], {}, {}])}
    message[place][name] = value  # type: ignore[index]
    with pytest.raises(InvalidTaskError, match=r"task shop\.pay: "):
        protocol.decode(message, "broker-id")


def test_numbers_that_other_languages_write_are_read() -> None:
    headers = {"task": "shop.pay", "id": 42, "timelimit": [0, 2.5], "retries": 1.0}
    document = {"headers": headers, "properties": {"priority": 5.0}, "body": "[[], {}, {}]"}
    read = protocol.decode(document, "broker-id")
    assert (read.id, read.timelimit, read.retries, read.priority) == ("42", (None, 2.5), 1, 5)


@pytest.mark.parametrize("headers", [{"id": "x"}, {"task": "x", "tenant": 1}])
def test_header_of_an_automatic_retry_is_not_one_of_the_protocols(headers: dict[str, Any]) -> None:
    app = TaskQ("shop", broker="memory://")
    with pytest.raises(ImproperlyConfigured, match="task add: retry_kwargs: header"):
        app.task(name="add", retry_kwargs={"headers": headers})(lambda: 1)
