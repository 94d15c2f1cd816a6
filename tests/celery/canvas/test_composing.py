"""``|`` and the functions that make workflows give Celery's dicts and texts, for every pair of kinds."""

from __future__ import annotations

import functools
import json
import operator
import pickle
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.celery.canvas.sides import Side

Make = Callable[[Side], Any]
Alike = Callable[[Make], Any]

KINDS: dict[str, Make] = {
    "sig": lambda s: s.add.s(1),
    "sig_with_options": lambda s: s.add.s(1).set(queue="q", countdown=3),
    "linked": lambda s: s.add.s(1).on_error(s.same.s()).set(link=[s.same.s()]),
    "immutable": lambda s: s.add.si(1, 2),
    "unregistered": lambda s: s.signature("other.task", (1,), {"k": 2}, app=s.app),
    "chain": lambda s: s.chain(s.add.s(1), s.mul.s(2)),
    "chain_with_links": lambda s: s._chain(s.add.s(1), s.mul.s(2), link=[s.same.s()], link_error=[s.many.s()]),
    "chain_of_one": lambda s: s.chain(s.add.s(1)),
    "empty_chain": lambda s: s.chain(),
    "chain_ends_in_group": lambda s: s.chain(s.add.s(1), s.group(s.add.s(1), s.add.s(2))),
    "chain_of_groups": lambda s: s.chain(s.group(s.add.s(1), s.add.s(2)), s.group(s.add.s(3), s.add.s(4))),
    "chain_ends_in_chord": lambda s: s.chain(s.add.s(1), s.chord([s.add.s(1), s.add.s(2)], s.tsum.s())),
    "raw_chain": lambda s: s._chain(s.group(s.add.s(1), s.add.s(2)), s.tsum.s()),
    "group": lambda s: s.group(s.add.s(1), s.add.s(2)),
    "group_of_list": lambda s: s.group([s.add.s(1), s.add.s(2)]),
    "group_with_options": lambda s: s.group([s.add.s(1), s.add.s(2)], queue="q"),
    "generated_group": lambda s: s.group(s.add.s(i) for i in range(3)),
    "empty_group": lambda s: s.group(),
    "group_of_one": lambda s: s.group(s.add.s(1)),
    "group_of_one_group": lambda s: s.group([s.group([s.add.s(1), s.add.s(2)])]),
    "group_of_chains": lambda s: s.group(s.chain(s.add.s(1), s.add.s(2)), s.add.s(3)),
    "chord": lambda s: s.chord([s.add.s(1), s.add.s(2)], s.tsum.s()),
    "chord_of_group": lambda s: s.chord(s.group(s.add.s(1), s.add.s(2)), s.tsum.s()),
    "chord_with_chain_body": lambda s: s.chord([s.add.s(1), s.add.s(2)], s.chain(s.tsum.s(), s.add.s(1))),
    "chord_with_group_body": lambda s: s.chord([s.add.s(1), s.add.s(2)], s.group(s.tsum.s(), s.same.s())),
    "chord_of_chord": lambda s: s.chord([s.chord([s.add.s(1)], s.tsum.s()), s.add.s(2)], s.tsum.s()),
    "chord_without_body": lambda s: s.chord([s.add.s(1), s.add.s(2)]),
    "map": lambda s: s.add.map([1, 2]),
    "starmap": lambda s: s.add.starmap([(1, 2), (3, 4)]),
    "chunks": lambda s: s.add.chunks([(1, 2), (3, 4), (5, 6)], 2),
}

kinds = pytest.mark.parametrize("kind", KINDS)


def with_each_kind(scenario: Callable[[Side, Make], Any]) -> Make:
    """The outcomes of a scenario with a second signature, for every kind of it."""

    def outcomes(s: Side) -> Any:
        return {name: _outcome(scenario, s, make) for name, make in KINDS.items()}

    return outcomes


def _outcome(scenario: Callable[[Side, Make], Any], s: Side, make: Make) -> Any:
    try:
        return scenario(s, make)
    except Exception as error:
        return [type(error).__name__, str(error)]


def described(sig: Any) -> Any:
    """The whole of a signature: its dict, its text and its class."""
    return [sig, repr(sig), type(sig).__name__] if hasattr(sig, "reprcall") else sig


@kinds
def test_two_joined_are_celerys(alike: Alike, kind: str) -> None:
    alike(with_each_kind(lambda s, right: described(KINDS[kind](s) | right(s))))


@kinds
def test_chain_of_two_is_celerys(alike: Alike, kind: str) -> None:
    alike(with_each_kind(lambda s, right: described(s.chain(KINDS[kind](s), right(s)))))


@kinds
def test_joining_three_leaves_the_parts_as_celery_does(alike: Alike, kind: str) -> None:
    def scenario(s: Side, right: Make) -> Any:
        first, last = KINDS[kind](s), right(s)
        joined = first | s.add.s(7) | last
        return [described(joined), described(first), described(last)]

    alike(with_each_kind(scenario))


@kinds
def test_chain_of_list_of_three_is_celerys(alike: Alike, kind: str) -> None:
    alike(with_each_kind(lambda s, right: described(s.chain([KINDS[kind](s), s.tsum.s(), right(s)]))))


@kinds
def test_chord_of_two_is_celerys(alike: Alike, kind: str) -> None:
    alike(with_each_kind(lambda s, right: described(s.chord([KINDS[kind](s), s.add.s(1)], right(s)))))


@kinds
def test_in_place_joining_is_celerys(alike: Alike, kind: str) -> None:
    def scenario(s: Side, right: Make) -> Any:
        sig = KINDS[kind](s)
        sig |= right(s)
        return described(sig)

    alike(with_each_kind(scenario))


@kinds
def test_joining_with_other_values_is_refused_as_in_celery(alike: Alike, kind: str) -> None:
    def errors(s: Side) -> Any:
        found = []
        for other in (1, "task", {"a": 1}):
            try:
                found.append(KINDS[kind](s) | other)
            except Exception as error:
                found.append(type(error).__name__)
        return found

    alike(errors)


@kinds
def test_json_and_back_is_celerys(alike: Alike, kind: str) -> None:
    def scenario(s: Side) -> Any:
        sig = KINDS[kind](s)
        text = json.dumps(sig)
        back = s.signature(json.loads(text), app=s.app)
        return [text, described(back), described(s.Signature.from_dict(json.loads(text), app=s.app))]

    alike(scenario)


@kinds
def test_copies_are_celerys(alike: Alike, kind: str) -> None:
    def scenario(s: Side) -> Any:
        sig = KINDS[kind](s)
        copies = [deepcopy(sig), sig.clone(), sig.clone((9,), {"z": 1}, queue="other"), sig.replace(args=(5,))]
        return [[described(each) for each in copies], described(sig), list(sig.items()), sig.__json__()]

    alike(scenario)


@kinds
def test_pickles_are_celerys(alike: Alike, kind: str) -> None:
    alike(lambda s: described(pickle.loads(pickle.dumps(KINDS[kind](s)))))


@kinds
def test_properties_are_celerys(alike: Alike, kind: str) -> None:
    def scenario(s: Side) -> Any:
        sig = KINDS[kind](s)
        names = ("id", "parent_id", "root_id", "task", "name", "args", "immutable", "subtask_type")
        return [[getattr(sig, name) for name in names], sig.app is s.app, [each.task for each in sig.flatten_links()]]

    alike(scenario)


@kinds
def test_text_of_call_is_celerys(alike: Alike, kind: str) -> None:
    alike(lambda s: KINDS[kind](s).reprcall(1, [2], key="value"))


def _tree(s: Side, rng: random.Random, depth: int) -> Any:
    makers: dict[str, Callable[[list[Any]], Any]] = {
        "sig": lambda _: s.add.s(rng.randint(0, 9)),
        "si": lambda _: s.mul.si(1, rng.randint(0, 9)),
        "opts": lambda _: s.add.s(1).set(countdown=rng.randint(0, 9)).on_error(s.many.s(rng.randint(0, 3))),
        "chain": lambda parts: s.chain(*parts),
        "raw": lambda parts: s._chain(*parts, app=s.app),
        "group": lambda parts: s.group(*parts) if rng.random() < 0.5 else s.group(parts),
        "chord": lambda parts: s.chord(parts, _tree(s, rng, depth - 1)),
        "or": lambda parts: functools.reduce(operator.or_, parts, s.add.s(0)),
    }
    kind = rng.choice(["sig", "chain", "group", "chord", "or", "raw"] if depth else ["sig", "si", "opts"])
    return makers[kind]([_tree(s, rng, depth - 1) for _ in range(rng.randint(0, 3))] if depth else [])


@pytest.mark.parametrize("seed", range(150))
def test_random_tree_is_celerys(alike: Alike, seed: int) -> None:
    alike(lambda s: described(_tree(s, random.Random(seed), 1 + seed % 4)))


@pytest.mark.parametrize("seed", range(150))
def test_random_tree_from_json_is_celerys(alike: Alike, seed: int) -> None:
    def scenario(s: Side) -> Any:
        text = json.dumps(_tree(s, random.Random(seed), 1 + seed % 4))
        return described(s.signature(json.loads(text), app=s.app))

    alike(scenario)


@pytest.mark.parametrize("seed", range(150))
def test_random_tree_is_frozen_as_in_celery(alike: Alike, seed: int) -> None:
    def scenario(s: Side) -> Any:
        sig = _tree(s, random.Random(seed), 1 + seed % 4)
        result = sig.freeze()
        return [result, sig, repr(sig)]

    alike(scenario)
