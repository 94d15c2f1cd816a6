"""Stamps are merged, and visitors called, as in Celery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.celery.canvas.sides import Side
from tests.celery.canvas.test_composing import KINDS, Alike, described, kinds


def _visitor(s: Side, **answers: Any) -> Any:
    """A visitor that notes its calls, and answers with these stamps."""
    calls: list[Any] = []

    def method(name: str) -> Callable[..., Any]:
        def answer(self: Any, sig: Any, **headers: Any) -> Any:
            calls.append([name, sig["task"], sorted(headers), sorted(headers.get("stamped_headers", []))])
            found = answers.get(name)
            return found(sig) if callable(found) else found

        return answer

    kind = type("Visitor", (s.StampingVisitor,), {name: method(name) for name in ("on_signature", *answers)})
    visitor: Any = kind()
    visitor.calls = calls
    return visitor


VISITORS: dict[str, Callable[[Side], Any]] = {
    "none": lambda s: None,
    "one_stamp": lambda s: _visitor(s, on_signature={"stamp": 1}),
    "no_stamp": lambda s: _visitor(s, on_signature=None),
    "stamp_of_args": lambda s: _visitor(s, on_signature=lambda sig: {f"has_{len(sig.args)}": True, "same": sig.args}),
    "named_stamps": lambda s: _visitor(s, on_signature=lambda sig: {"a": 1, "priority": 3, "stamped_headers": ["a"]}),
    "lists": lambda s: _visitor(s, on_signature=lambda sig: {"tags": ["x", sig["task"]], "sets": {"k": [1]}}),
    "groups_and_chains": lambda s: _visitor(
        s,
        on_signature=lambda sig: {"sig": 1},
        on_group_start=lambda sig: {"group": 1},
        on_group_end=None,
        on_chain_start=lambda sig: {"chain": 1},
        on_chain_end=None,
    ),
    "chords": lambda s: _visitor(s, on_signature=lambda sig: {"sig": 1}, on_chord_body=lambda sig: {"body": 1}),
    "links": lambda s: _visitor(
        s,
        on_signature=lambda sig: {"sig": sig["task"]},
        on_callback=lambda sig: {"callback": 1},
        on_errback=lambda sig: {"errback": [1]},
    ),
}


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("visitor", VISITORS)
@kinds
def test_stamps_are_celerys(alike: Alike, kind: str, visitor: str, append: bool) -> None:
    def scenario(s: Side) -> Any:
        sig, chooses = KINDS[kind](s), VISITORS[visitor](s)
        # Celery has no body of a chord to stamp either.
        returned = sig.stamp(chooses, append, tenant="acme", tags=["t"])
        again = sig.stamp(VISITORS[visitor](s), append, tenant="other", number=1)
        return [described(sig), type(returned).__name__, type(again).__name__, chooses and chooses.calls]

    alike(scenario)


@kinds
def test_stamps_of_links_are_celerys(alike: Alike, kind: str) -> None:
    def scenario(s: Side) -> Any:
        sig = KINDS[kind](s)
        if sig.options.get("link") is None:
            sig.options.update(link=[s.add.s(1), dict(s.mul.s(1))], link_error=s.many.s())
        sig.stamp_links(VISITORS["links"](s), True, tenant="acme")
        return described(sig)

    alike(scenario)


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, None),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": [2]}),
        ({"a": [1]}, {"a": 2}),
        ({"a": [1]}, {"a": [2]}),
        ({"a": (1,)}, {"a": 2}),
        ({"a": (1,)}, {"a": [2]}),
        ({"a": None}, {"a": 2}),
        ({"a": "x"}, {"a": "y", "b": 1}),
        ({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [2], "d": 3}}),
        ({"a": 1.5, "z": 1}, {"b": 1, "a": None}),
        ({"a": {"b": 1}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"s": {1}}, {"s": 2}),
    ],
)
def test_dictionaries_are_merged_as_in_celery(alike: Alike, first: Any, second: Any, append: bool) -> None:
    def scenario(s: Side) -> Any:
        from copy import deepcopy

        left, right = deepcopy(first), deepcopy(second)
        s._merge_dictionaries(left, right, append)
        return [left, right]

    alike(scenario)


def test_visitor_without_on_signature_is_abstract(alike: Alike) -> None:
    alike(lambda s: type("Visitor", (s.StampingVisitor,), {})())
