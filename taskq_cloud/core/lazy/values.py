"""Value types: frozen dataclasses whose methods are compiled when they are first called.

The standard library writes and compiles six methods for each dataclass when its module is imported, which takes half a
millisecond, and importing ``dataclasses`` itself takes longer than importing most of this package. A process that only
calls tasks makes values of a third of the types that it imports. So ``dataclass`` here makes the class and its slots at
once, and ``__init__``, ``__eq__`` and ``__hash__`` at the first call.

Type checkers take these names for the standard library's. At run time, ``dataclasses.fields``, ``replace``, ``asdict``
and ``is_dataclass`` work with these types, too. Only ``frozen=True, slots=True`` is known here; other dataclasses are
the standard library's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

__all__ = ["dataclass", "field", "fields", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, replace

_MISSING: Final[Any] = type("_Missing", (), {"__repr__": lambda _: "<no default>"})()


class Field:
    """A field of a value type, with the attributes of ``dataclasses.Field`` that this package reads."""

    __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        *,
        init: bool = True,
        compare: bool = True,
        repr: bool = True,
        kw_only: bool | None = None,
    ) -> None:
        self.name = self.type = ""
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.compare = compare
        self.repr = repr
        self.kw_only = kw_only


def _dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type], type]:
    if not (frozen and slots):
        raise TypeError("a value type has frozen=True and slots=True; the standard library makes other dataclasses")
    return lambda cls: _value_type(cls, kw_only=kw_only)


def _value_type(cls: type, *, kw_only: bool) -> type:
    """Make a class anew, with slots for its fields."""
    inherited: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited |= getattr(base, "__value_fields__", {})
    own: dict[str, Field] = {}
    namespace = dict(cls.__dict__)
    for name, annotation in cls.__annotations__.items():
        if annotation.startswith("ClassVar"):
            continue
        given = namespace.pop(name, _MISSING)
        each = given if isinstance(given, Field) else Field(given)
        if isinstance(each.default, list | dict | set):
            raise TypeError(f"{cls.__qualname__}.{name}: all values would share its default; give a default_factory")
        each.name, each.type = name, annotation
        each.kw_only = kw_only if each.kw_only is None else each.kw_only
        own[name] = each
    known = inherited | own
    for name in ("__dict__", "__weakref__"):
        namespace.pop(name, None)
    namespace["__slots__"] = tuple(name for name in own if name not in inherited)
    namespace["__value_fields__"] = known
    namespace["__dataclass_fields__"] = _OfStandardLibrary("__dataclass_fields__")
    namespace["__dataclass_params__"] = _OfStandardLibrary("__dataclass_params__")
    namespace.setdefault(
        "__match_args__", tuple(name for name, each in known.items() if each.init and not each.kw_only)
    )
    for name, method in _METHODS.items():
        namespace.setdefault(name, method)
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    for name, source in _SOURCES.items():
        if cls.__dict__.get(name) is None:  # a class with its own __eq__ has None as its __hash__
            setattr(made, name, _compiled_later(made, name, source))
    return made


def _compiled_later(cls: type, name: str, source: Callable[[Any], tuple[str, dict[str, Any]]]) -> Any:
    """Make a method that puts its compiled form into its place when it is first called."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Two threads may both come here, and compile the same.
        text, values = source(cls)
        exec(text, values)  # made of the names of fields
        compiled = values[name]
        compiled.__qualname__, compiled.__module__ = f"{cls.__qualname__}.{name}", cls.__module__
        setattr(cls, name, compiled)
        return compiled(self, *args, **kwargs)

    method.__name__, method.__qualname__, method.__module__ = name, f"{cls.__qualname__}.{name}", cls.__module__
    return method


def _source_of_init(cls: Any) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {"MISSING": _MISSING}
    positional: list[str] = ["self"]
    named: list[str] = []
    lines: list[str] = []
    for name, each in cls.__value_fields__.items():
        if not each.init:
            continue
        values[f"set_{name}"] = getattr(cls, name).__set__
        parameter, value = name, name
        if each.default_factory is not _MISSING:
            values[f"factory_{name}"] = each.default_factory
            parameter, value = f"{name}=MISSING", f"factory_{name}() if {name} is MISSING else {name}"
        elif each.default is not _MISSING:
            values[f"default_{name}"] = each.default
            parameter = f"{name}=default_{name}"
        (named if each.kw_only else positional).append(parameter)
        lines.append(f" set_{name}(self, {value})")
    parameters = [*positional, *(["*", *named] if named else [])]
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    return "\n".join([f"def __init__({', '.join(parameters)}):", *(lines or [" pass"])]), values


def _source_of_eq(cls: Any) -> tuple[str, dict[str, Any]]:
    mine, theirs = (_tuple(of, cls.__value_fields__.values()) for of in ("self", "other"))
    return (
        f"def __eq__(self, other):\n if other.__class__ is self.__class__:\n  return {mine} == {theirs}\n"
        " return NotImplemented"
    ), {}


def _source_of_hash(cls: Any) -> tuple[str, dict[str, Any]]:
    return f"def __hash__(self):\n return hash({_tuple('self', cls.__value_fields__.values())})", {}


def _tuple(of: str, known: Iterable[Field]) -> str:
    return f"({''.join(f'{of}.{each.name},' for each in known if each.compare)})"


_SOURCES: Final = {"__init__": _source_of_init, "__eq__": _source_of_eq, "__hash__": _source_of_hash}


def _repr(self: Any) -> str:
    shown = [each.name for each in self.__value_fields__.values() if each.repr]
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    from dataclasses import FrozenInstanceError  # a mistake of the caller

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError  # a mistake of the caller

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__value_fields__]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__value_fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _fields(of: Any) -> tuple[Any, ...]:
    known = getattr(of, "__value_fields__", None)
    if known is not None:
        return tuple(known.values())
    import dataclasses

    return dataclasses.fields(of)


def _replace(of: Any, /, **changes: Any) -> Any:
    cls = type(of)
    known = getattr(cls, "__value_fields__", None)
    if known is None:
        import dataclasses

        return dataclasses.replace(of, **changes)
    names = [name for name, each in known.items() if each.init and name not in changes]
    return cls(**dict(zip(names, map(of.__getattribute__, names), strict=True)), **changes)


_METHODS: Final[dict[str, Any]] = {
    "__repr__": _repr,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
    "__replace__": _replace,
}


class _OfStandardLibrary:
    """An attribute that the functions of ``dataclasses`` read, made when they do."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: Any, owner: type) -> Any:
        import dataclasses

        cls = self._owner
        namespace: dict[str, Any] = {"__annotations__": {}, "__module__": cls.__module__}
        for name, each in cls.__value_fields__.items():  # type: ignore[attr-defined]
            namespace["__annotations__"][name] = each.type
            given = {key: getattr(each, key) for key in ("init", "compare", "repr", "kw_only")}
            if each.default is not _MISSING:
                given["default"] = each.default
            if each.default_factory is not _MISSING:
                given["default_factory"] = each.default_factory
            namespace[name] = dataclasses.field(**given)
        shadow: type = dataclasses.dataclass(frozen=True)(type(cls.__name__, (), namespace))
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(cls, name, getattr(shadow, name))
        return getattr(shadow, self._name)


if not TYPE_CHECKING:
    dataclass, field, fields, replace = _dataclass, Field, _fields, _replace
