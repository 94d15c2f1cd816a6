"""Stamps: headers that every task of a workflow carries, and the visitor that chooses them (``StampingVisitor``).

Source: Celery 5.7, "Canvas: Designing Work-flows", "Stamping".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from taskq_cloud.celery.canvas import kinds

STAMPED_HEADERS = "stamped_headers"


class StampingVisitor(ABC):
    """Chooses the stamps of each part of a workflow; each method returns the stamps to add.

    The stamps that a part has so far are given as keyword arguments. Options of the call may be among the stamps that
    a method returns; with the key ``stamped_headers``, only the names listed there are stamps.
    """

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        """Return the stamps of a group."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: B027 - a visitor may leave it out
        """Take note that every member of a group is stamped."""

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        """Return the stamps of a chain."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: B027 - a visitor may leave it out
        """Take note that every task of a chain is stamped."""

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        """Return the stamps of a task."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Return the stamps of a chord's header; by default those of the header as a group, which it becomes."""
        if not kinds.is_group(sig.tasks):
            sig.tasks = kinds.make("group", sig.tasks)
        return self.on_group_start(sig.tasks, **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """Take note that every member of a chord's header is stamped."""
        self.on_group_end(sig.tasks, **header)

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Return the stamps of a chord's body."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        """Return the stamps of a signature that runs when a task has succeeded."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
        """Return the stamps of a signature that runs when a task has failed."""
        return {}


def _merge_dictionaries(d1: dict[str, Any], d2: dict[str, Any] | None, aggregate_duplicates: bool = True) -> None:
    """Add the items of one dictionary to another, in place; dictionaries in both are merged likewise.

    Args:
        d1: the dictionary that is changed.
        d2: the dictionary whose items are added.
        aggregate_duplicates: a key that both have gets a list of both values. Otherwise the value of ``d1`` stays,
            except that two lists become one list in either case.
    """
    for name, new in (d2 or {}).items():
        old = d1.get(name)
        if name not in d1:
            d1[name] = new
        elif isinstance(old, dict):
            _merge_dictionaries(old, new, aggregate_duplicates)
        else:
            d1[name] = _both(old, new, append=aggregate_duplicates)


def _both(old: Any, new: Any, *, append: bool) -> Any:
    values = [old] if append and isinstance(old, int | float | str) else old
    if isinstance(values, list) and isinstance(new, list):
        values.extend(new)  # in place, as Celery does: parts that share the list of names share what is added
        return values
    if not append:
        return values
    return [*(() if values is None else values), new]


def collected(
    options: dict[str, Any],
    visitor_headers: dict[str, Any] | None,
    headers: dict[str, Any],
    *,
    append: bool,
    own: bool,
) -> dict[str, Any]:
    """Merge the stamps from a visitor, the stamps given so far, and the stamps that a signature has.

    Args:
        options: the options of the signature.
        visitor_headers: the visitor's stamps; None: there is no visitor. The list of their names is added to them.
        headers: the stamps so far.
        append: see ``_merge_dictionaries``.
        own: whether the stamps among the options count.
    """
    merged = {**headers}
    merged.setdefault(STAMPED_HEADERS, list(headers))
    if visitor_headers is not None:
        visitor_headers.setdefault(STAMPED_HEADERS, list(visitor_headers))
        _merge_dictionaries(merged, visitor_headers, append)
        merged[STAMPED_HEADERS] = _once_each(merged[STAMPED_HEADERS])
    if own:
        names = _once_each([*merged[STAMPED_HEADERS], *options.get(STAMPED_HEADERS, ())])
        merged[STAMPED_HEADERS] = names
        _merge_dictionaries(merged, {name: of for name, of in options.items() if name in names}, append)
        merged[STAMPED_HEADERS] = _once_each(merged[STAMPED_HEADERS])
    return merged


def _once_each(names: Any) -> list[Any]:
    return list(dict.fromkeys(names))


def stamp_member(task: Any, visitor: Any, append_stamps: bool, **headers: Any) -> Any:
    """Stamp a task, and return it: the form in which the tasks of a generator are stamped when they are read."""
    task.stamp(visitor, append_stamps, **headers)
    return task
