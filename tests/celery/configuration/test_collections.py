"""Mappings, sets and buffers, beside Celery's own."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping, MutableMapping, MutableSet, Sequence
from functools import partial
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_cloud.celery.utils import collections as ours
from tests.celery.configuration.comparing import compare, outcome

PATH = "utils.collections"


def value_of(mapping: Any, key: str, module: Any) -> Any:
    return mapping[key]


def test_public_names_are_celerys() -> None:
    assert compare(PATH, lambda module: sorted(module.__all__)) == sorted(ours.__all__)


def test_attributes_of_a_dict_are_its_keys_as_in_celery() -> None:
    def used(module: Any) -> Any:
        found = module.AttributeDict(a=1)
        found.b = 2
        return found, found.a, outcome(module, lambda _: found.nothing), isinstance(found, dict)

    assert compare(PATH, used)[2] == ("AttributeError", "'AttributeDict' object has no attribute 'nothing'")


def test_object_as_mapping_has_celerys_outcomes() -> None:
    def used(module: Any) -> Any:
        found = module.DictAttribute(SimpleNamespace(a=1, b=None))
        found["c"], found.d = 3, 4
        found.setdefault("a", 9)
        found.setdefault("e", 5)
        return [
            *(found["a"], found.get("nothing", 7), found.get("nothing"), found.d, "c" in found, "nothing" in found),
            *(outcome(module, lambda _: found["nothing"]), [key for key in found if not key.startswith("_")]),
            *(sorted(v for v in found.values() if isinstance(v, int)), isinstance(found, MutableMapping)),
            *(
                [item for item in found.items() if item[0] in "abc"],
                vars(found.obj),
                list(found.keys()) == dir(found.obj),
            ),
        ]

    compare(PATH, used)


@pytest.mark.parametrize("value", [{"a": 1}, SimpleNamespace(a=1)])
def test_forced_mapping_is_celerys(value: Any) -> None:
    compare(PATH, lambda module: (type(module.force_mapping(value)).__name__, module.force_mapping(value)["a"]))


def test_left_value_stays_if_the_right_one_is_none() -> None:
    assert compare(PATH, lambda module: module.lpmerge({"a": 1, "b": 2}, {"a": None, "b": 3, "c": 4})) == {
        "a": 1,
        "b": 3,
        "c": 4,
    }


def test_chain_of_mappings_has_celerys_outcomes() -> None:
    def used(module: Any) -> Any:
        seen: list[Any] = []
        chain = module.ChainMap({"a": 1}, {"a": 2, "b": 3}, key_t=str.lower)
        chain.bind_to(lambda *args, **kwargs: seen.append((args, kwargs)))
        chain["C"] = 4
        chain.add_defaults({"b": 5})
        chain.update({"d": 6}, e=7)
        chain.update([("f", 8)])
        chain.setdefault("A", 9)
        return [
            *(chain["A"], chain["b"], repr(chain), len(chain), list(chain), list(chain.items()), list(chain.values())),
            *(chain.get("x"), "B" in chain, bool(chain), chain.pop("F"), chain.pop("x", 3), seen, chain.changes),
            *(outcome(module, lambda _: chain.pop("b")), outcome(module, lambda _: chain.__delitem__("b"))),
            *(outcome(module, lambda _: chain["x"]), repr(module.ChainMap.fromkeys("ab", 1)), bool(module.ChainMap())),
            *(repr(chain.copy()), chain.copy().changes is chain.changes, isinstance(chain, Mapping), chain.clear()),
        ]

    compare(PATH, used)


@pytest.mark.parametrize("prefix", [None, "my", "MY_"])
def test_view_of_a_configuration_has_celerys_outcomes(prefix: str | None) -> None:
    def used(module: Any) -> Any:
        view = module.ConfigurationView(
            {"a": 1, "my_b": 2, "MY_C": 3}, [{"a": 4, "x": 5, "old_y": 6}], (lambda key: f"old_{key}",), prefix
        )
        other = module.ConfigurationView({"z": 1}, [{"a": 2}])
        copied = view.copy()
        copied["a"] = 7
        found = [
            *(outcome(module, partial(value_of, view, key)) for key in ("a", "b", "c", "x", "y", "nothing", "my_b")),
            *(view.first("nothing", "y"), "b" in view, "y" in view, "nothing" in view, view.get("nothing", 1)),
            *(copied.a, view.a, copied.y, sorted(view), view.prefix),
        ]
        view.swap_with(other)
        return [*found, view.z, view.a, view.prefix, len(view.maps)]

    compare(PATH, used)


# -- limited sets


def test_random_use_of_limited_set_has_celerys_outcomes() -> None:
    def used(seed: int, module: Any) -> Any:
        rng = random.Random(seed)
        found = module.LimitedSet(maxlen=rng.choice([0, 5, 9]), expires=rng.choice([0, 20]), minlen=0)
        trace: list[Any] = []
        for step in range(200):
            item = rng.randrange(20)
            match rng.randrange(7):
                case 0 | 1 | 2:
                    found.add(item, now=float(step))
                case 3:
                    found.discard(item)
                case 4:
                    trace.append(found.pop(default="none"))
                case 5:
                    found.purge(now=step)
                case _:
                    found.update({item: float(step)})
            trace.append((list(found), len(found), item in found, bool(found), found.as_dict()))
        return trace, repr(found)

    for seed in range(20):
        compare(PATH, partial(used, seed))


@pytest.mark.parametrize(
    "arguments",
    [{"minlen": 1}, {"maxlen": 1, "minlen": 2}, {"expires": -1}, {"maxlen": None}, {"data": {"a": 1}}, {"minlen": -1}],
)
def test_arguments_of_limited_set_have_celerys_outcomes(arguments: dict[str, Any]) -> None:
    compare(PATH, lambda module: repr(module.LimitedSet(**arguments)))


def test_limited_sets_can_be_joined_compared_and_pickled() -> None:
    one, two = ours.LimitedSet(maxlen=3, data="ab"), ours.LimitedSet(maxlen=3)
    two.update(one)
    assert two == one
    assert pickle.loads(pickle.dumps(one)) == one
    two.update("cd")
    assert sorted(two) == ["b", "c", "d"]
    assert one != {"a"}
    assert isinstance(one, MutableSet)
    one.clear()
    assert not one
    one.purge(now=lambda: 3.0)


def test_discarding_keeps_the_heap_small() -> None:
    found = ours.LimitedSet(maxlen=1000)
    for item in range(500):
        found.add(item)
    for item in range(490):
        found.discard(item)
    assert found._heap_overload < 15
    assert list(found) == list(range(490, 500))


# -- buffers


def test_random_use_of_buffers_has_celerys_outcomes() -> None:
    def used(seed: int, module: Any) -> Any:
        rng = random.Random(seed)
        buffers = module.BufferMap(rng.choice([None, 7]), bufmaxsize=rng.choice([3, 1000]))
        one = module.Messagebuffer(rng.choice([None, 4]), [1, 2, 3, 4, 5])
        trace: list[Any] = []
        for step in range(150):
            key = rng.choice("abc")
            match rng.randrange(4):
                case 0:
                    buffers.put(key, step)
                    one.put(step)
                case 1:
                    buffers.extend(key, range(step, step + 3))
                    one.extend([step] * 2)
                case 2:
                    trace.append((buffers.take(key, None), one.take("none")))
                case _:
                    trace.append((outcome(module, lambda _: buffers.take(key)), outcome(module, lambda _: one.take())))
            trace.append((repr(buffers), list(buffers), repr(one), len(one), list(reversed(one)), step in one))
        return trace

    for seed in range(20):
        compare(PATH, partial(used, seed))


def test_first_messages_of_a_map_are_evicted_as_in_celery() -> None:
    def made(module: Any) -> Any:
        buffers = module.BufferMap(5, {"a": [1, 2, 3, 4], "b": [5, 6, 7]})
        return repr(buffers), {key: list(value) for key, value in buffers.items()}

    compare(PATH, made)


def test_buffer_is_a_sequence_that_iteration_empties() -> None:
    buffer = ours.Messagebuffer(None, [1, 2])
    assert isinstance(buffer, Sequence)
    assert buffer[1] == 2
    assert list(buffer) == [1, 2]
    assert len(buffer) == 0
    with pytest.raises(Empty):
        buffer.take()


def test_ordered_dict_knows_its_least_recent_key() -> None:
    def used(module: Any) -> Any:
        found = module.OrderedDict([("a", 1), ("b", 2)])
        found.move_to_end("a")
        return found._LRUkey(), list(found)

    assert compare(PATH, used) == ("b", ["b", "a"])
