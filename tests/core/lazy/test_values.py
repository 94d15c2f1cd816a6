"""Test that value types behave as the standard library's frozen dataclasses with slots."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from taskq_cloud.core.lazy import values
from taskq_cloud.core.model.message import Message

made: list[Any] = []


def types_by(module: Any) -> dict[str, Any]:
    """Define the same types by the standard library or by ``core.lazy.values``."""
    dataclass, field = module.dataclass, module.field

    @dataclass(frozen=True, slots=True)
    class Plain:
        """Two fields, of which one has a default."""

        limit: ClassVar[int] = 5

        name: str
        count: int = 0

        @property
        def shown(self) -> str:
            return f"{self.name}:{self.count}"

    @dataclass(frozen=True, slots=True)
    class Rich:
        key: str
        values: dict[str, Any] = field(default_factory=dict)
        secret: bytes = field(default=b"", repr=False)
        note: str | None = field(default=None, compare=False)

        def __post_init__(self) -> None:
            made.append(self.key)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        one: int
        two: int = 2

    @dataclass(frozen=True, slots=True)
    class Base:
        times: int | None = field(default=None, compare=False, kw_only=True)

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        value: str = "v"
        more: tuple[int, ...] = ()

    @dataclass(frozen=True, slots=True)
    class Own:
        value: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 5

        def __repr__(self) -> str:
            return "own"

    @dataclass(frozen=True, slots=True)
    class Derives:
        text: str
        length: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "length", len(self.text))

    @dataclass(frozen=True, slots=True)
    class Empty:
        pass

    kinds = (Plain, Rich, Named, Base, Derived, Own, Derives, Empty)
    return {kind.__name__: kind for kind in kinds}


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Plain", ("a",), {}),
    ("Plain", ("a", 1), {}),
    ("Plain", (), {"count": 1, "name": "a"}),
    ("Rich", ("k",), {}),
    ("Rich", ("k", {"a": 1}, b"s", "n"), {}),
    ("Named", (), {"one": 1}),
    ("Base", (), {}),
    ("Base", (), {"times": 3}),
    ("Derived", ("v",), {"times": 3}),
    ("Derived", ("v", (1, 2)), {}),
    ("Own", (1,), {}),
    ("Derives", ("long",), {}),
    ("Empty", (), {}),
]
WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Plain", (), {}),
    ("Plain", ("a", 1, 2), {}),
    ("Plain", ("a",), {"limit": 1}),
    ("Named", (1,), {}),
    ("Derived", ("v", (), 3), {}),
    ("Derives", ("long", 4), {}),
    ("Empty", (1,), {}),
]


def described(kinds: dict[str, Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Make a value, and tell all that can be told of it."""
    kind = kinds[name]
    value, equal = kind(*args, **kwargs), kind(*args, **kwargs)
    names = [each.name for each in dataclasses.fields(value)]
    try:
        hashed: Any = hash(value) == hash(equal)
    except TypeError as error:
        hashed = str(error)
    return {
        "repr": repr(value).rpartition(".")[2],
        "values": [getattr(value, each) for each in names],
        "equal": (value == equal, value != equal, value == 5, value == kinds["Plain"]("other", 9)),
        "hash": hashed,
        "copy": copy.copy(value) == value and copy.deepcopy(value) == value,
        "dict": dataclasses.asdict(value),
        "tuple": dataclasses.astuple(value),
        "replaced": dataclasses.replace(value) == value,
        "fields": [(each.name, each.repr, each.compare, each.kw_only, each.type) for each in dataclasses.fields(kind)],
        "match": kind.__match_args__,
        "slots": kind.__slots__,
        "has a dict": hasattr(value, "__dict__"),
        "doc": kind.__doc__ if name == "Plain" else None,
        "signature": [*inspect.signature(kind).parameters],
        "is a dataclass": dataclasses.is_dataclass(value),
    }


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_value_is_as_the_standard_librarys(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert described(types_by(values), name, args, kwargs) == described(types_by(dataclasses), name, args, kwargs)


@pytest.mark.parametrize(("name", "args", "kwargs"), WRONG)
def test_wrong_arguments_raise_as_the_standard_librarys(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    texts = []
    for module in (values, dataclasses):
        with pytest.raises(TypeError) as caught:
            types_by(module)[name](*args, **kwargs)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_value_cannot_be_changed() -> None:
    value = types_by(values)["Plain"]("a")
    changes: list[Callable[[], object]] = [
        lambda: setattr(value, "name", "b"),
        lambda: setattr(value, "x", 1),
        lambda: delattr(value, "name"),
    ]
    for change in changes:
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert value.name == "a"


def test_replaced_value_has_the_other_fields() -> None:
    value = types_by(values)["Derived"]("v", (1,), times=3)
    assert [getattr(values.replace(value, value="w"), each) for each in ("value", "more", "times")] == ["w", (1,), 3]
    with pytest.raises(TypeError, match="unexpected keyword argument 'x'"):
        values.replace(value, x=1)


def test_post_init_runs_for_each_value() -> None:
    made.clear()
    kind = types_by(values)["Rich"]
    values.replace(kind("first"), key="second")
    assert made == ["first", "second"]


def test_default_of_a_factory_is_not_shared() -> None:
    kind = types_by(values)["Rich"]
    assert kind("a").values is not kind("b").values


def test_shared_default_that_can_change_is_refused() -> None:
    decorator: Any = values.dataclass(frozen=True, slots=True)
    wrong: Any = type("Wrong", (), {"__annotations__": {"names": "list[str]"}, "names": []})
    with pytest.raises(TypeError, match=r"Wrong\.names: all values would share its default"):
        decorator(wrong)


def test_message_survives_pickle() -> None:
    message = Message(task="add", id="1", args=(1,), headers={"a": "b"})
    assert pickle.loads(pickle.dumps(message)) == message


def test_threads_may_make_the_first_values_at_once() -> None:
    kind = types_by(values)["Plain"]
    start, found = threading.Barrier(8), []

    def make() -> None:
        start.wait()
        found.append(kind("a", 1) == kind("a", 1))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [True] * 8


def test_making_values_imports_no_dataclasses() -> None:
    code = """
import sys
from taskq_cloud.core.lazy.values import dataclass, field, fields, replace
@dataclass(frozen=True, slots=True)
class Point:
    x: "int"
    y: "dict" = field(default_factory=dict)
assert replace(Point(1), x=2) == Point(2) and [each.name for each in fields(Point)] == ["x", "y"], Point(1)
assert "dataclasses" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_dataclass_of_the_standard_library_may_derive_from_a_value_type() -> None:
    base = types_by(values)["Plain"]
    derived: Any = dataclasses.make_dataclass("Derived", [("size", int, 1)], bases=(base,), frozen=True)
    assert repr(derived("a", size=2)).endswith("Derived(name='a', count=0, size=2)")
    assert derived("a") == derived("a", 0, 1) != derived("b")
    assert dataclasses.replace(derived("a"), count=5).count == 5
