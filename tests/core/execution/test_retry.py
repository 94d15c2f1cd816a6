"""The outcomes of exceptions that a task raises, compared with Celery where the rule is Celery's."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.utils.time import get_exponential_backoff_interval
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core import serializers
from taskq_cloud.core.execution import retry
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Ignored, Outcome, Rejected, Retrying
from taskq_cloud.errors import Ignore, MaxRetriesExceededError, Reject, Retry


def decide(error: BaseException, retries: int = 0, **options: Any) -> Outcome:
    return retry.decide(error, "t", "id1", retries, TaskOptions(**options), random.Random(1))


def delay_of(error: Retry, **options: Any) -> float:
    """The delay of a requested retry, in seconds."""
    outcome = decide(error, **options)
    assert isinstance(outcome, Retrying)
    return outcome.after_seconds


def is_expected(error: Exception, **options: Any) -> bool:
    """Whether a failure is one that the task's options expect."""
    outcome = decide(error, **options)
    assert isinstance(outcome, Failed)
    return outcome.expected


@given(
    retries=st.integers(0, 400),
    backoff=st.just(True) | st.integers(1, 1000),
    longest=st.integers(1, 10_000),
    jitter=st.booleans(),
)
def test_automatic_delays_equal_celerys(retries: int, backoff: int, longest: int, jitter: bool) -> None:
    options = TaskOptions(retry_backoff=backoff, retry_backoff_max=longest, retry_jitter=jitter)
    delay = retry.automatic_delay(retries, options)
    celerys = get_exponential_backoff_interval(int(backoff), retries, longest, full_jitter=False)
    assert delay == celerys if not jitter else 0 <= delay <= celerys


def test_jitter_draws_from_the_whole_range() -> None:
    options = TaskOptions(retry_backoff=4)
    drawn = {retry.automatic_delay(0, options, random.Random(seed)) for seed in range(200)}
    assert drawn == {0, 1, 2, 3, 4}


def test_delay_after_a_million_retries_does_not_overflow() -> None:
    assert retry.automatic_delay(10**6, TaskOptions(retry_backoff=True, retry_jitter=False)) == 600


def test_delay_without_backoff_is_the_tasks_own() -> None:
    assert retry.automatic_delay(3, TaskOptions()) == 180
    assert retry.automatic_delay(3, TaskOptions(default_retry_delay=5)) == 5
    assert retry.automatic_delay(3, TaskOptions(retry_kwargs={"countdown": 7})) == 7


@pytest.mark.parametrize(
    ("error", "retries", "options", "again"),
    [
        (OSError(), 0, {"autoretry_for": (OSError,)}, True),
        (ConnectionError(), 0, {"autoretry_for": (OSError,)}, True),
        (ValueError(), 0, {"autoretry_for": (OSError,)}, False),
        (OSError(), 0, {}, False),
        (ConnectionError(), 0, {"autoretry_for": (OSError,), "dont_autoretry_for": (ConnectionError,)}, False),
        (OSError(), 2, {"autoretry_for": (OSError,)}, True),
        (OSError(), 3, {"autoretry_for": (OSError,)}, False),
        (OSError(), 99, {"autoretry_for": (OSError,), "max_retries": None}, True),
        (OSError(), 0, {"autoretry_for": (OSError,), "max_retries": 0}, False),
        (OSError(), 4, {"autoretry_for": (OSError,), "retry_kwargs": {"max_retries": 5}}, True),
        (OSError(), 5, {"autoretry_for": (OSError,), "retry_kwargs": {"max_retries": 5}}, False),
    ],
)
def test_error_is_retried_automatically_by_options(error: Exception, retries: int, options: Any, again: bool) -> None:
    outcome = decide(error, retries, **options)
    assert isinstance(outcome, Retrying) is again
    assert isinstance(outcome, Failed) is not again
    assert isinstance(outcome, Retrying | Failed)
    assert outcome.error.exc_type == type(error).__name__


def test_requested_retry_has_delay_arguments_and_cause() -> None:
    outcome = decide(Retry(exc=ValueError("why"), when=5, args=(1,), kwargs={"b": 2}))
    assert isinstance(outcome, Retrying)
    assert (outcome.after_seconds, outcome.args, outcome.kwargs) == (5, (1,), {"b": 2})
    assert (outcome.error.exc_type, outcome.error.exc_message) == ("ValueError", ("why",))


def test_requested_retry_is_due_at_its_time() -> None:
    assert delay_of(Retry()) == 180
    assert delay_of(Retry(), default_retry_delay=3) == 3
    assert delay_of(Retry(when=-5)) == 0
    for zone in (UTC, None):
        due = (datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=zone)
        assert 3500 < delay_of(Retry(when=due)) <= 3600
    past = datetime.now(UTC) - timedelta(hours=1)
    assert delay_of(Retry(when=past)) == 0


def test_retry_beyond_the_limit_is_a_failure() -> None:
    outcome = decide(Retry(exc=ValueError("why")), 3)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "ValueError", "Celery raises the cause, if there is one"
    outcome = decide(Retry(), 3)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "MaxRetriesExceededError"
    assert "t[id1]" in outcome.error.exc_message[0]
    assert isinstance(decide(Retry(max_retries=5), 3), Retrying)
    assert isinstance(decide(Retry(max_retries=0), 0, max_retries=9), Failed)
    assert isinstance(retry.no_retry_left("t", "id1", None), MaxRetriesExceededError)


def test_ignore_and_reject_are_outcomes() -> None:
    assert decide(Ignore()) == Ignored()
    assert decide(Reject("full", requeue=True)) == Rejected("full", True)
    assert decide(Reject()) == Rejected("rejected by the task", False)
    assert isinstance(decide(Ignore(), autoretry_for=(Exception,)), Ignored), "Ignore is not an error to be retried"


def test_exceptions_in_throws_are_expected() -> None:
    assert is_expected(KeyError("x"), throws=(LookupError,))
    assert not is_expected(KeyError("x"), throws=(OSError,))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "argument",
    [
        1,
        None,
        "x",
        ["list", (1, 2)],
        {"a": 1},
        object(),
        datetime.now(UTC),
        b"\xff",
        "\ud800",
        {1, 2},
        Unshowable(),
        Text("text"),
        {"__type__": "date", "__value__": "x"},
        ValueError("inner"),
        float("nan"),
    ],
    ids=lambda argument: type(argument).__name__,
)
def test_any_exception_becomes_plain_data(argument: Any) -> None:
    described = ErrorInfo.of(ValueError(argument, "second"))
    plain = serializers.loads(serializers.dumps(described.exc_message))
    assert plain[1] == "second"
    assert repr(plain) == repr(list(described.exc_message))
    assert type(described.exc_message[0]) in (int, str, list, dict, float, datetime, bytes, type(None))
    assert (described.exc_type, described.exc_module) == ("ValueError", "builtins")


def test_exception_without_str_and_repr_is_described() -> None:
    described = ErrorInfo.of(Unspeakable("x"))
    assert (described.exc_type, described.exc_message) == ("Unspeakable", ("x",))
    assert described.traceback is not None


def test_traceback_names_the_cause() -> None:
    try:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ValueError("effect") from cause
    except ValueError as error:
        described = ErrorInfo.of(error)
    assert described.traceback is not None
    assert "KeyError: 'cause'" in described.traceback
    assert described.traceback.rstrip().endswith("ValueError: effect")


def test_large_argument_of_an_exception_is_shortened() -> None:
    described = ErrorInfo.of(ValueError({"x" * 1_000_000}))
    assert len(described.exc_message[0]) < 2000


@pytest.mark.parametrize(
    "when", ["5 minutes", 1e300, float("nan"), float("inf"), [1], datetime.max.replace(tzinfo=UTC)]
)
def test_invalid_countdown_is_the_tasks_failure(when: Any) -> None:
    outcome = decide(Retry(exc=KeyError("why"), when=when))
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "OptionError"
    assert "KeyError('why')" in str(outcome.error.traceback), "the task's own error is not hidden"


def test_invalid_retry_option_is_the_tasks_failure() -> None:
    outcome = decide(OSError(), autoretry_for=(OSError,), retry_kwargs={"countdown": "soon"})
    assert isinstance(outcome, Failed)
