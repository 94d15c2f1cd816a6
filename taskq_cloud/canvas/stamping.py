"""Stamps: headers that every task of a workflow carries, and the visitor that chooses them (``StampingVisitor``).

Stamps are merged as Celery merges them, in every case. A stamp that is there already stays, unless stamps are appended.

Source: Celery 5.7, "Canvas: Designing Work-flows", "Stamping".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from taskq_cloud.calling.options import CallOptions
from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import fields
from taskq_cloud.core.model.message import Options
from taskq_cloud.core.workflows.signatures import CHORD_OPTIONS
from taskq_cloud.errors import EncodeError

Stamps: TypeAlias = Mapping[str, Any]
"""Stamps by name, as JSON values; the key ``stamped_headers`` has the list of their names."""

STAMPED_HEADERS: Final = "stamped_headers"
_OPTIONS: Final = frozenset(
    [*(each.name for each in fields(CallOptions)), "link", "link_error", "chord", "chain", "group_id", "group_index"]
) | frozenset(CHORD_OPTIONS)


class StampingVisitor(ABC):
    """Base class of visitors, which choose the stamps of a workflow's parts; ``sig.stamp(visitor)`` calls one.

    Each method is given a part of the workflow and the stamps that the part has got so far. The stamps that it returns
    (a mapping of names to JSON values) are added for the part and for everything inside it. If the mapping has the key
    ``stamped_headers``, a list of names, only the named values are stamps; the others are options of the call.

    A part doesn't change: a visitor returns stamps, and never sets them on the part. ``Any`` in the parameters of these
    methods lets a subclass name the class of workflow that it expects: ``def on_signature(self, sig: Call, ...)``.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Stamps:
        """Return the stamps of one task, a ``Call``."""

    def on_group_start(self, group: Any, **headers: Any) -> Stamps:
        """Return the stamps of a group."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """Take note that every member of the group is stamped."""
        return

    def on_chain_start(self, chain: Any, **headers: Any) -> Stamps:
        """Return the stamps of a chain."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        """Take note that every task of the chain is stamped."""
        return

    def on_chord_header_start(self, sig: Any, **header: Any) -> Stamps:
        """Return the stamps of a chord, body included; by default, those of its header as a group."""
        return self.on_group_start(sig.header, **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """Take note that every member of the chord's header is stamped."""
        self.on_group_end(sig.header, **header)

    def on_chord_body(self, sig: Any, **header: Any) -> Stamps:
        """Return the stamps of the body of a chord."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> Stamps:
        """Return the stamps of a workflow that runs when a task has succeeded."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> Stamps:
        """Return the stamps of a workflow that runs when a task has failed."""
        return {}


def stamped(options: Options, headers: Stamps, task: str) -> tuple[Options, Options]:
    """Write stamps into the options of a task's signature.

    Args:
        options: the options of the signature.
        headers: the stamps, and options of the call that a visitor has returned with them.
        task: the task's name, for errors.

    Returns:
        The options of the signature with the stamps in them, and the options of the call.

    Raises:
        ValueError: a stamp has the name of an option, or has no value.
        EncodeError: the value of a stamp can't be written as JSON.
    """
    names = headers[STAMPED_HEADERS]
    for name in names:
        if name in _OPTIONS:
            raise ValueError(
                f"task {task}: a stamp can't be named {name!r}, the name of an option: give it another name"
            )
        if name not in headers:
            raise ValueError(f"task {task}: stamped_headers names a stamp {name!r} that has no value; give it one")
        try:
            serializers.dumps(headers[name])
        except EncodeError as error:
            raise EncodeError(f"task {task}: stamp {name!r} is {error}") from error
    stamps = {name: headers[name] for name in names}
    others = {k: v for k, v in headers.items() if k not in stamps and k != STAMPED_HEADERS}
    return {**options, **stamps, STAMPED_HEADERS: list(names)}, others


def added(headers: Stamps, more: Stamps | None, *, append: bool) -> dict[str, Any]:
    """Add the stamps that a visitor has returned to the stamps of a part.

    Args:
        headers: the stamps so far.
        more: the stamps to add; None: there was no visitor.
        append: a stamp that is in both becomes a list of its values. Otherwise the first value stays; two lists become
            one list in either case.
    """
    stamps = _named(headers)
    if more is None:
        return stamps
    merged = _merged(stamps, _named(more), append=append)
    return {**merged, STAMPED_HEADERS: list(dict.fromkeys(merged[STAMPED_HEADERS]))}


def with_own(headers: Stamps, options: Options, *, append: bool) -> Stamps:
    """Add the stamps that a task has already, which are among its options; arguments as for ``added``."""
    names = list(dict.fromkeys([*headers[STAMPED_HEADERS], *(options.get(STAMPED_HEADERS) or ())]))
    own = {name: value for name, value in options.items() if name in names}
    return {**_merged(headers, own, append=append), STAMPED_HEADERS: names}


def _named(headers: Stamps) -> dict[str, Any]:
    return {**headers, STAMPED_HEADERS: list(headers.get(STAMPED_HEADERS, headers))}


def _merged(first: Stamps, second: Stamps, *, append: bool) -> Stamps:
    both = {
        name: _of_both(value, second[name], append=append) if name in second else value for name, value in first.items()
    }
    return {**second, **both} if second else both


def _of_both(first: Any, second: Any, *, append: bool) -> object:
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
