"""What annotations of functions say: optional values, and classes."""

from __future__ import annotations

import types
import typing
from inspect import isclass
from typing import Any

__all__ = ("annotation_is_class", "annotation_issubclass", "get_optional_arg", "is_none_type")


def is_none_type(value: Any) -> bool:
    """Tell whether a type is that of None."""
    return bool(value == types.NoneType)


def get_optional_arg(annotation: Any) -> Any:
    """Return ``X`` for ``Optional[X]`` and ``X | None``, and None for every other annotation."""
    if typing.get_origin(annotation) not in {typing.Union, types.UnionType}:
        return None
    match [member for member in typing.get_args(annotation) if not is_none_type(member)]:
        case [member]:
            return member
    return None


def annotation_is_class(annotation: Any) -> bool:
    """Tell whether an annotation is a class that ``isinstance`` takes."""
    return isclass(annotation)


def annotation_issubclass(annotation: Any, cls: type) -> bool:
    """Tell whether an annotation is this class, or a subclass of it."""
    return annotation_is_class(annotation) and issubclass(annotation, cls)
