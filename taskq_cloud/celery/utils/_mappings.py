"""Mappings that a configuration is made of: several mappings in a row, and objects whose attributes are the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Self

Observer = Callable[..., Any]


def force_mapping(m: Any) -> Any:
    """Return a mapping as it is, and any other object as a mapping of its attributes.

    Django's lazy settings are such an object: they read the project's settings when an attribute is looked up.
    """
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(L: Any, R: Mapping[Any, Any]) -> Any:
    """Update the mapping ``L`` from ``R``, except by values that are None, and return ``L``."""
    for key, value in R.items():
        if value is not None:
            L[key] = value
    return L


class AttributeDictMixin:
    """Makes a mapping's keys attributes: ``d.key`` is ``d["key"]``."""

    def __getattr__(self, k: str) -> Any:
        try:
            return self[k]  # type: ignore[index]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {k!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


class AttributeDict(dict[Any, Any], AttributeDictMixin):
    """A dict whose keys are attributes, too."""


class DictAttribute:
    """Makes an object's attributes the keys of a mapping: ``d["key"]`` is ``obj.key``.

    Args:
        obj: the object, such as a module.
    """

    obj: Any = None

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __contains__(self, key: str) -> bool:
        return hasattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def setdefault(self, key: str, default: Any = None) -> None:
        """Set the value of a key that the object doesn't have."""
        if key not in self:
            self[key] = default

    def keys(self) -> Iterator[str]:
        """Iterate over the names of all attributes."""
        return iter(dir(self.obj))

    def values(self) -> Iterator[Any]:
        """Iterate over the values of all attributes."""
        return (getattr(self.obj, key) for key in self.keys())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the names and the values of all attributes."""
        return ((key, getattr(self.obj, key)) for key in self.keys())

    iterkeys = _iterate_keys = keys
    itervalues = _iterate_values = values
    iteritems = _iterate_items = items


MutableMapping.register(DictAttribute)


class ChainMap(MutableMapping[Any, Any]):
    """Several mappings in a row: a key is looked up in each, and changes go into the first one, ``changes``.

    Args:
        maps: the mappings; the earlier ones have priority.
        key_t: a function that every key goes through before it is looked up; None: there is none.
    """

    key_t: Callable[[Any], Any] | None = None
    changes: Any = None
    defaults: Any = None
    maps: Any = None
    _observers: Any = ()

    def __init__(self, *maps: Any, **kwargs: Any) -> None:
        row = list(maps or [{}])
        self.__dict__.update(key_t=kwargs.get("key_t"), maps=row, changes=row[0], defaults=row[1:], _observers=[])

    # -- reading

    def _key(self, key: Any) -> Any:
        return key if self.key_t is None else self.key_t(key)

    def __getitem__(self, key: Any) -> Any:
        wanted = self._key(key)
        for mapping in self.maps:
            try:
                return mapping[wanted]
            except KeyError:
                continue
        return self.__missing__(key)

    def __missing__(self, key: Any) -> Any:
        raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        wanted = self._key(key)
        return any(wanted in mapping for mapping in self.maps)

    def __len__(self) -> int:
        return len(set().union(*self.maps))

    def __bool__(self) -> bool:
        return any(self.maps)

    def __iter__(self) -> Iterator[Any]:
        return self._iterate_keys()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.maps))})"

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def _iter(self, op: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
        """Iterate over a part of each mapping; the one with the lowest priority comes first."""
        for mapping in reversed(self.maps):
            yield from op(mapping)

    def keys(self) -> Iterator[Any]:  # type: ignore[override]
        """Iterate over the keys of all mappings, each once."""
        return iter(dict.fromkeys(self._iter(lambda mapping: mapping.keys())))

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        """Iterate over the values that the keys have here."""
        return (self[key] for key in self)

    def items(self) -> Iterator[tuple[Any, Any]]:  # type: ignore[override]
        """Iterate over the keys and the values that they have here."""
        return ((key, self[key]) for key in self)

    iterkeys = _iterate_keys = keys
    itervalues = _iterate_values = values
    iteritems = _iterate_items = items

    # -- changing

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes[self._key(key)] = value

    def __delitem__(self, key: Any) -> None:
        try:
            del self.changes[self._key(key)]
        except KeyError:
            raise KeyError(f"Key not found in first mapping: {key!r}") from None

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a key from the changes and return its value there, or the default."""
        try:
            return self.changes.pop(self._key(key), *default)
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def clear(self) -> None:
        """Remove all changes; the other mappings stay."""
        self.changes.clear()

    def setdefault(self, key: Any, default: Any = None) -> None:
        """Set the value of a key that no mapping has."""
        if key not in self:
            self[key] = default

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Add changes, and tell the observers of them.

        Args:
            args: at most one mapping, or iterable of pairs.
            kwargs: further changes.
        """
        given = (dict(*args),) if args else ()
        answer = self.changes.update(*given, **kwargs)
        for observer in self._observers:
            observer(*given, **kwargs)
        return answer

    def bind_to(self, callback: Observer) -> None:
        """Have a function called with the arguments of each ``update``."""
        self._observers.append(callback)

    def add_defaults(self, d: Any) -> None:
        """Add a mapping that comes directly after the changes."""
        mapping = force_mapping(d)
        self.defaults.insert(0, mapping)
        self.maps.insert(1, mapping)

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], *args: Any) -> ChainMap:
        """Make a chain of one dict with the given keys."""
        return cls(dict.fromkeys(iterable, *args))

    def copy(self) -> Self:
        """Return a chain with its own changes and the same other mappings."""
        return type(self)(self.maps[0].copy(), *self.maps[1:])

    __copy__ = copy


class ConfigurationView(ChainMap, AttributeDictMixin):
    """The values of a configuration: changes, before mappings of defaults.

    Args:
        changes: the mapping that changes go into.
        defaults: further mappings, the one with the highest priority first.
        keys: functions that make other names of a key, which are looked up, too.
        prefix: the prefix that keys may have in the mappings.
    """

    # An object that is being unpickled has no values yet, and is asked for its methods, which are looked up as keys.
    maps: Any = ()
    prefix: str | None = None
    _keys: Sequence[Callable[[str], str]] | None = None

    def __init__(
        self,
        changes: Any,
        defaults: Any = None,
        keys: Sequence[Callable[[str], str]] | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(changes, *(() if defaults is None else defaults))
        self.__dict__.update(prefix=f"{prefix.rstrip('_')}_" if prefix else prefix, _keys=keys)

    def _to_keys(self, key: str) -> tuple[str, ...]:
        """Return the names that a key may have: with the prefix, as it is, and its other names."""
        names: tuple[str, ...] = (key,)
        if self.prefix:
            prefixed = key if key.startswith(self.prefix) else self.prefix + key
            names = (prefixed.upper() if self.prefix.isupper() else prefixed.lower(), key)
        return names + tuple(other(key) for other in self._keys or ())

    def __getitem__(self, key: str) -> Any:
        names = self._to_keys(key)
        for mapping in self.maps:
            for name in names:
                try:
                    return mapping[self._key(name)]
                except KeyError:
                    continue
        try:
            return self.__missing__(key)
        except KeyError:
            if self.prefix:
                raise KeyError(f"Key not found: {names[1]!r} (with prefix: {names[0]!r})") from None
            raise

    def __contains__(self, key: Any) -> bool:
        return any(ChainMap.__contains__(self, name) for name in self._to_keys(key))

    def first(self, *keys: str) -> Any:
        """Return the first value of the given keys that isn't None."""
        return next((value for key in keys if (value := self.get(key)) is not None), None)

    def copy(self) -> Self:
        """Return a view with its own changes and the same defaults."""
        copied = type(self)(self.changes.copy(), self.defaults, self._keys, self.prefix)
        copied.__dict__["key_t"] = self.key_t
        return copied

    __copy__ = copy

    def swap_with(self, other: ConfigurationView) -> None:
        """Take over the mappings of another view."""
        theirs = vars(other)
        taken = {name: theirs[name] for name in ("changes", "defaults", "key_t", "prefix", "_keys")}
        self.__dict__.update(taken, maps=[taken["changes"], *taken["defaults"]])
