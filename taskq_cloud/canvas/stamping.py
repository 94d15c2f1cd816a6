"""Stamps: headers that are given to every task of a workflow, and the visitor that says which.

How stamps are merged is Celery's, case for case; a stamp that is there already is kept, unless they are to be appended.

Source: Celery 5.7, "Canvas: Designing Work-flows", "Stamping".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from taskq_cloud.calling.options import CallOptions
from taskq_cloud.core import serializers
from taskq_cloud.core.workflows.signatures import CHORD_OPTIONS
from taskq_cloud.errors import EncodeError

STAMPED_HEADERS: Final = "stamped_headers"
_OPTIONS: Final = frozenset(
    [*(each.name for each in fields(CallOptions)), "link", "link_error", "chord", "chain", "group_id", "group_index"]
) | frozenset(CHORD_OPTIONS)


class StampingVisitor(ABC):
    """Says which stamps the parts of a workflow get: a subclass overrides the methods of those it has a word for.

    Each is given the part, which can't be changed, and the stamps so far. What it returns is added to them, for the
    part and all within it: header -> JSON value; with ``stamped_headers``, a list, only these are stamps, and the
    others are options of the call.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any]:
        """Stamps of one task."""

    def on_group_start(self, group: Any, **headers: Any) -> Mapping[str, Any]:
        """Stamps of a group."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: B027 - to be overridden
        """Every member of the group is stamped."""

    def on_chain_start(self, chain: Any, **headers: Any) -> Mapping[str, Any]:
        """Stamps of a chain."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: B027 - to be overridden
        """Every task of the chain is stamped."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> Mapping[str, Any]:
        """Stamps of a chord, body included: those of its header as a group."""
        return self.on_group_start(sig.header, **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """Every member of the chord's header is stamped."""
        self.on_group_end(sig.header, **header)

    def on_chord_body(self, sig: Any, **header: Any) -> Mapping[str, Any]:
        """Stamps of the chord's body."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> Mapping[str, Any]:
        """Stamps of what is linked to a task."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> Mapping[str, Any]:
        """Stamps of what is run when a task fails."""
        return {}


def stamped(options: Mapping[str, Any], headers: Mapping[str, Any], task: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a task's stamps come to: as options of its signature, and the other options that came with them.

    Raises:
        ValueError: a stamp has the name of an option, or no value.
        EncodeError: JSON can't say its value.
    """
    names = headers[STAMPED_HEADERS]
    for name in names:
        if name in _OPTIONS:
            raise ValueError(f"task {task}: a stamp can't be named {name!r}, which is an option's name")
        if name not in headers:
            raise ValueError(f"task {task}: stamped_headers names {name!r}, and there is no such stamp")
        try:
            serializers.dumps(headers[name])
        except EncodeError as error:
            raise EncodeError(f"task {task}: stamp {name!r} is {error}") from error
    stamps = {name: headers[name] for name in names}
    others = {k: v for k, v in headers.items() if k not in stamps and k != STAMPED_HEADERS}
    return {**options, **stamps, STAMPED_HEADERS: list(names)}, others


def added(headers: Mapping[str, Any], more: Mapping[str, Any] | None, *, append: bool) -> dict[str, Any]:
    """Stamps with those that a visitor's method has returned; None where none was asked.

    Args:
        headers: the stamps so far.
        more: those to add.
        append: of a stamp that is in both, make a list. Otherwise it stays as it is; two lists become one either way.
    """
    stamps = _named(headers)
    if more is None:
        return stamps
    merged = _merged(stamps, _named(more), append=append)
    return {**merged, STAMPED_HEADERS: list(dict.fromkeys(merged[STAMPED_HEADERS]))}


def with_own(headers: Mapping[str, Any], options: Mapping[str, Any], *, append: bool) -> dict[str, Any]:
    """Stamps with those that a task has already."""
    names = list(dict.fromkeys([*headers[STAMPED_HEADERS], *(options.get(STAMPED_HEADERS) or ())]))
    own = {name: value for name, value in options.items() if name in names}
    return {**_merged(headers, own, append=append), STAMPED_HEADERS: names}


def _named(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {**headers, STAMPED_HEADERS: list(headers.get(STAMPED_HEADERS, headers))}


def _merged(first: Mapping[str, Any], second: Mapping[str, Any], *, append: bool) -> dict[str, Any]:
    both = {
        name: _of_both(value, second[name], append=append) if name in second else value for name, value in first.items()
    }
    return {**second, **both} if second else both


def _of_both(first: Any, second: Any, *, append: bool) -> Any:
    match first, second:
        case {}, {}:
            return _merged(first, second, append=append)
        case [*_], [*_] if isinstance(first, list) and isinstance(second, list):
            return [*first, *second]
    if not append:
        return first
    if isinstance(first, int | float | str):
        return [first, *second] if isinstance(second, list) else [first, second]
    return [*(first or ()), second]
