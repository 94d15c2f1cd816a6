"""The shapes of parameters and answers, as AWS's service models describe them, for the operations of the lean driver.

A shape says whether a parameter fits it: a call with any other parameter is the SDK's, which knows the whole model and
finds the words for what is wrong. A shape also turns a part of an answer from JSON into what the SDK returns for it:
bytes instead of Base64, and only the members that the model has. A test compares all shapes with the SDK's model.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final, Protocol


class Shape(Protocol):
    """The shape of a value."""

    bare: bool
    """Whether a value in an answer is taken as it is."""

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape."""
        ...

    def read(self, value: Any) -> Any:
        """Turn a value of a JSON answer into the SDK's."""
        ...


class Scalar:
    """A text, a number or a truth value.

    Args:
        kind: the class of its values; a class derived from it is left to the SDK.
        least: the least length of a text.
    """

    bare = True

    def __init__(self, kind: type, least: int = 0) -> None:
        self.kind = kind
        self.least = least

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape."""
        return type(value) is self.kind and (self.least == 0 or len(str(value)) >= self.least)

    def read(self, value: Any) -> Any:
        """Return the value, which JSON has as it is."""
        return value


class Blob:
    """Bytes, which JSON carries as Base64."""

    bare = False

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape; a text in place of bytes is left to the SDK."""
        return type(value) is bytes

    def read(self, value: Any) -> bytes:
        """Return the bytes."""
        return b64decode(value)


class ListOf:
    """A list.

    Args:
        member: the shape of its members.
        least: the least number of members.
    """

    def __init__(self, member: Shape, least: int = 0) -> None:
        self.member = member
        self.least = least
        self.bare = member.bare

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape."""
        if not isinstance(value, list | tuple) or len(value) < self.least:
            return False
        fits = self.member.fits
        return False not in [fits(each) for each in value]

    def read(self, value: Any) -> Any:
        """Turn a list of an answer into the SDK's."""
        if self.bare:
            return value
        read = self.member.read
        return [read(each) for each in value]


class MapOf:
    """A mapping whose keys are texts.

    Args:
        member: the shape of its values.
        least: the least number of keys.
    """

    def __init__(self, member: Shape, least: int = 0) -> None:
        self.member = member
        self.least = least
        self.bare = member.bare

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape."""
        if not isinstance(value, dict) or len(value) < self.least:
            return False
        fits = self.member.fits
        return False not in [type(name) is str and fits(each) for name, each in value.items()]

    def read(self, value: Any) -> Any:
        """Turn a mapping of an answer into the SDK's."""
        if self.bare:
            return value
        read = self.member.read
        return {name: read(each) for name, each in value.items()}


class Structure:
    """An object with known members.

    Args:
        required: the names of the members that a parameter must have.
        members: name -> shape.
    """

    bare = False

    def __init__(self, required: Iterable[str] = (), /, **members: Shape) -> None:
        self.required = frozenset(required)
        self.members: dict[str, Shape] = members
        self._readers = {name: None if shape.bare else shape.read for name, shape in members.items()}
        # The values of most members are told by their class alone, without a call for each.
        plain = [(name, each) for name, each in members.items() if isinstance(each, Scalar) and not each.least]
        self._kinds = {name: each.kind for name, each in plain}

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape, with no further members."""
        if not isinstance(value, dict) or not self.required <= value.keys():
            return False
        kinds = self._kinds
        for name, each in value.items():
            if type(each) is kinds.get(name):
                continue
            shape = self.members.get(name)
            if shape is None or not shape.fits(each):
                return False
        return True

    def read(self, value: Any) -> Any:
        """Turn an object of an answer into the SDK's, which has the members that the model has."""
        if value is None:
            return None
        found = {}
        for name, each in value.items():
            if each is not None and name in self._readers:
                read = self._readers[name]
                found[name] = each if read is None else read(each)
        return found


def encoded(value: Any) -> str:
    """Encode what JSON can't carry: bytes, as Base64."""
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    raise TypeError(f"a parameter has the class {type(value).__name__}")


TEXT: Final = Scalar(str)
INTEGER: Final = Scalar(int)
FLAG: Final = Scalar(bool)
BLOB: Final = Blob()
TEXTS: Final = ListOf(TEXT)
TEXT_MAP: Final = MapOf(TEXT)
