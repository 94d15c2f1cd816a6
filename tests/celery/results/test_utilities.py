"""Helpers for exceptions and representations behave as Celery's do."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import celery.utils.saferepr
import celery.utils.serialization as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.celery.utils import serialization as ours
from taskq_cloud.celery.utils.saferepr import saferepr
from tests.celery.results.sides import Side

D = {"a": ["b", {"c": {"d": [1, 2, {"e": "f"}]}}], 3: (1,), (1, 2): "it's", "é": b"bytes", "n": None}
RECURSIVE: list[Any] = [1]
RECURSIVE.append({"self": RECURSIVE})
Pair = namedtuple("Pair", "one two")


class Words(dict[str, Any]):
    pass


class Numbers(list[int]):
    pass


class Bag(set[int]):
    pass


VALUES: list[Any] = [
    D,
    RECURSIVE,
    1,
    3.5,
    True,
    None,
    Decimal("1.50"),
    2**80,
    1 + 2j,
    "text",
    "it's",
    b"bytes",
    b"\xff\xfe",
    "x" * 200,
    b"x" * 200,
    (),
    (1,),
    (1, 2),
    [],
    {},
    set(),
    frozenset(),
    {1},
    frozenset({1}),
    Bag({1}),
    range(3),
    [range(3)],
    Pair(1, [2]),
    OrderedDict(a=1),
    Words(a=1),
    Numbers([1, 2]),
    [[[[[1]]]]],
    {"a": {"b": {"c": {"d": 1}}}},
    [{1: 2}] * 3,
    UUID(int=1),
    dt.date(2026, 1, 2),
    object,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize(
    "limits", [{}, {"maxlen": 5}, {"maxlen": 20}, {"maxlen": 100}, {"maxlevels": 1}, {"maxlevels": 0}]
)
def test_representation_is_celerys(value: Any, limits: dict[str, Any]) -> None:
    if value is RECURSIVE and limits == {"maxlevels": 0}:
        limits = {"maxlevels": 10}
    assert saferepr(value, **limits) == celery.utils.saferepr.saferepr(value, **limits)


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.tuples(inner)
    ),
    max_leaves=15,
)


@given(json_values, st.none() | st.integers(0, 60), st.integers(0, 5))
def test_representation_of_anything_is_celerys(value: Any, maxlen: int | None, maxlevels: int) -> None:
    assert saferepr(value, maxlen, maxlevels) == celery.utils.saferepr.saferepr(value, maxlen, maxlevels)


def test_representation_that_fails_is_replaced() -> None:
    class Failing:
        def __repr__(self) -> str:
            raise KeyError("foo")

    shown = saferepr([1, Failing()])
    assert shown.startswith("[1, <Unrepresentable <class ")
    assert "KeyError('foo')" in shown


def test_representation_within_seen_containers_is_a_recursion() -> None:
    value = [1]
    assert saferepr(value, seen={id(value)}) == f"<Recursion on list with id={id(value)}>"


class Picky(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class Closed(Exception):
    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.held = lambda: None


class ClosedKey(KeyError):
    def __reduce__(self) -> Any:
        raise TypeError("not this one")


class Unshown(Exception):
    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __repr__(self) -> str:
        raise ValueError("not shown")


EXCEPTIONS: list[Callable[[], BaseException]] = [
    lambda: KeyError("a"),
    lambda: Picky("a", "b"),
    lambda: Closed("a"),
    lambda: ClosedKey("a"),
    lambda: ValueError(lambda: None),
    KeyboardInterrupt,
]


@pytest.mark.parametrize("make", EXCEPTIONS)
def test_exception_is_made_fit_for_pickle_as_in_celery(make: Callable[[], BaseException], alike: Any) -> None:
    def of(side: Side) -> Any:
        module = side.of("utils.serialization")
        made = module.get_pickleable_exception(make())
        nearest = module.find_pickleable_exception(make())
        again = pickle.loads(pickle.dumps(made))
        back = module.get_pickled_exception(again)
        return [
            type(made).__name__,
            type(nearest).__name__,
            type(back).__name__,
            type(back).__module__,
            [type(each).__name__ for each in back.args],
            module.get_pickleable_etype(type(make())).__name__,
            module.get_pickled_exception(3),
        ]

    assert not str(alike(of)).startswith("raised")


def test_wrapper_of_exception_keeps_its_parts(alike: Any) -> None:
    def of(side: Side) -> Any:
        kind = side.of("utils.serialization").UnpickleableExceptionWrapper
        try:
            raise Closed("text")
        except Closed as error:
            made = kind.from_exception(error)
        given = kind("module", "Name", [1, lambda: 2], "shown")
        return [
            (
                each.exc_module,
                each.exc_cls_name,
                len(each.exc_args),
                each.text,
                str(each),
                type(each.restore()).__name__,
            )
            for each in (made, given, copy.copy(given))
        ] + [made.__traceback__ is not None, given.restore().args[0]]

    assert not str(alike(of)).startswith("raised")


def test_classes_of_exceptions_are_made_as_in_celery(alike: Any) -> None:
    def of(side: Side) -> Any:
        module = side.of("utils.serialization")
        one, two = module.create_exception_cls("Foo", "m"), module.create_exception_cls("Bar", "m", KeyError)
        three = module.subclass_exception("Baz", ValueError, "n")
        return [(each.__name__, each.__module__, each.__bases__[0].__name__) for each in (one, two, three)]

    assert not str(alike(of)).startswith("raised")


@pytest.mark.parametrize("term", ["false", "No", "0", "TRUE", "yes", "1", "on", "off", 3, True, None, "maybe", ""])
def test_word_is_read_as_bool_as_in_celery(term: Any, alike: Any) -> None:
    alike(lambda side: side.of("utils.serialization").strtobool(term))


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "a",
        [1, (2, 3)],
        {"a": {"b": 1}},
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901),
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        dt.date(2026, 1, 2),
        dt.time(3, 4, 5),
        dt.time(3, 4, 5, 678901),
        dt.timedelta(days=1, seconds=5),
        {1, 2},
        object,
        {"a": object()},
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_value_becomes_plain_as_in_celery(value: Any, alike: Any) -> None:
    alike(lambda side: side.of("utils.serialization").jsonify(value))


def test_plain_values_can_be_filtered(alike: Any) -> None:
    def of(side: Side) -> Any:
        jsonify = side.of("utils.serialization").jsonify
        value = {"a": 1, "b": {"a": 2, "c": object}}
        made = jsonify(value, keyfilter=lambda key: key != "a", unknown_type_filter=lambda each: each.__name__)
        return made, json.dumps(made)

    assert not str(alike(of)).startswith("raised")


def test_base64_is_celerys() -> None:
    for value in ("text", b"bytes", "é"):
        assert ours.b64encode(value) == theirs.b64encode(value)
        assert ours.b64decode(ours.b64encode(value)) == theirs.b64decode(theirs.b64encode(value))


def test_serializable_items_stay_as_in_celery(alike: Any) -> None:
    items = [1, "a", {1: 2}, object, (3,)]
    alike(lambda side: side.of("utils.serialization").ensure_serializable(items, json.dumps))


def raise_while_handling(handled: BaseException, raised: BaseException) -> None:
    try:
        raise handled
    except ValueError:
        ours.raise_with_context(raised)


def test_raised_exception_has_the_handled_one_as_its_cause() -> None:
    first = ValueError("first")
    with pytest.raises(KeyError) as caught:
        raise_while_handling(first, KeyError("second"))
    assert caught.value.__cause__ is first
    with pytest.raises(ValueError, match="first") as same:
        raise_while_handling(first, first)
    assert same.value.__cause__ is None
