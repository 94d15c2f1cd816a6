"""Errors and states have Celery's names, relations, texts and attributes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any

import celery.exceptions
import celery.states
import pytest

from taskq_cloud import errors as native
from taskq_cloud.celery import exceptions, states
from tests.celery.results.sides import Side

NAMES = sorted({*celery.exceptions.__all__, "RetryTaskError", "SystemTerminate", "UNREGISTERED_FMT"})


def test_names_of_module_are_celerys() -> None:
    of_kombu = {"DecodeError", "EncodeError"}  # which code written for Celery imports from there
    assert set(exceptions.__all__) == {*celery.exceptions.__all__, *of_kombu}


@pytest.mark.parametrize("name", NAMES)
def test_class_has_celerys_base_classes(name: str) -> None:
    theirs, ours = getattr(celery.exceptions, name), getattr(exceptions, name)
    if not isinstance(theirs, type):
        assert callable(theirs) == callable(ours)
        return
    known = {each: getattr(exceptions, each.__name__) for each in theirs.__mro__ if hasattr(exceptions, each.__name__)}
    assert all(
        issubclass(ours, each)
        for each in known.values()
        if each is not exceptions.TimeoutError or name == "TimeoutError"
    )
    builtin = [each for each in theirs.__mro__ if each.__module__ == "builtins"]
    assert all(issubclass(ours, each) for each in builtin)


RETRIES: list[Callable[[Any], Any]] = [
    lambda of: of(),
    lambda of: of("later"),
    lambda of: of("later", KeyError("x")),
    lambda of: of(exc=KeyError("x"), when=3),
    lambda of: of(exc="a text", when=3),
    lambda of: of(exc="a text"),
    lambda of: of(when=datetime(2026, 1, 2, 3, 4)),
    lambda of: of("m", ValueError("v"), 3.5, is_eager=True, sig="the signature"),
]


@pytest.mark.parametrize("make", RETRIES)
def test_retry_shows_its_reason_as_celery_does(make: Callable[[Any], Any], alike: Any) -> None:
    def scenario(side: Side) -> Any:
        retry = make(side.errors.Retry)
        again = pickle.loads(pickle.dumps(retry))
        return [(str(each), each.message, each.exc, each.when, each.humanize()) for each in (retry, again)] + [
            retry.excs,
            retry.is_eager,
            retry.sig,
        ]

    assert not str(alike(scenario)).startswith("raised")


@pytest.mark.parametrize("arguments", [(), ("no",), ("no", True), (KeyError("x"),), (None, True)])
def test_reject_has_celerys_attributes(arguments: tuple[Any, ...], alike: Any) -> None:
    def scenario(side: Side) -> Any:
        reject = side.errors.Reject(*arguments)
        again = pickle.loads(pickle.dumps(reject))
        return [(each.reason, each.requeue, repr(each), each.args) for each in (reject, again)]

    assert not str(alike(scenario)).startswith("raised")


@pytest.mark.parametrize(
    "make",
    [
        lambda of: repr(of.NotRegistered("tasks.add")),
        lambda of: repr(of.BackendGetMetaError("x", task_id="t")),
        lambda of: of.BackendGetMetaError(task_id="t").task_id,
        lambda of: repr(of.BackendStoreError("x", state="SUCCESS", task_id="t")),
        lambda of: repr(of.BackendStoreError("x")),
        lambda of: of.MaxRetriesExceededError("x", task_args=[1], task_kwargs={"a": 1}).task_args,
        lambda of: of.MaxRetriesExceededError("x", task_args=[1], task_kwargs={"a": 1}).task_kwargs,
        lambda of: (of.MaxRetriesExceededError().task_args, of.MaxRetriesExceededError().task_kwargs),
        lambda of: str(of.MaxRetriesExceededError("x")),
        lambda of: (of.CeleryCommandException("no", 3).exit_code, str(of.CeleryCommandException("no", 3))),
        lambda of: str(of.TaskRevokedError("revoked")),
        lambda of: str(of.ChordError("no")),
        lambda of: repr(of.SecurityError("no")),
        lambda of: repr(of.InvalidTaskError()),
        lambda of: repr(of.WorkerShutdown(3)),
    ],
)
def test_error_has_celerys_text(make: Callable[[Any], Any], alike: Any) -> None:
    assert not str(alike(lambda side: make(side.errors))).startswith("raised")


def test_reraise_gives_exception_a_traceback() -> None:
    error = KeyError("x")
    try:
        raise ValueError
    except ValueError as other:
        traceback = other.__traceback__
    with pytest.raises(KeyError) as caught:
        exceptions.reraise(KeyError, error, traceback)
    assert caught.value is error
    assert error.__traceback__ is not None
    frames = []
    at: TracebackType | None = error.__traceback__
    while at is not None:
        frames.append(at)
        at = at.tb_next
    assert traceback in frames


def test_native_errors_are_caught_by_celerys_names() -> None:
    for name in NAMES:
        own = getattr(native, name, None)
        if own is not None and name not in {"Retry", "Reject"}:
            assert issubclass(own, getattr(exceptions, name))
    assert issubclass(exceptions.Retry, native.Retry)
    assert issubclass(exceptions.Reject, native.Reject)


def test_names_of_states_are_celerys() -> None:
    public = {name for name in vars(celery.states) if not name.startswith("_") and name != "annotations"}
    for name in public - {"precedence", "state"}:
        assert getattr(states, name) == getattr(celery.states, name)


@pytest.mark.parametrize("one", [*states.PRECEDENCE, "PROGRESS"])
def test_states_compare_as_celerys(one: str) -> None:
    assert states.precedence(one) == celery.states.precedence(one)
    for other in [*filter(None, states.PRECEDENCE), "PROGRESS"]:
        mine, its = states.state(str(one)), celery.states.state(str(one))
        assert (mine < other, mine <= other, mine > other, mine >= other) == (
            its < other,
            its <= other,
            its > other,
            its >= other,
        )
