"""A workflow's drawing as lines of text, coloured for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import click

from taskq_cloud.cli.workflow_tree.item import COLOURS, Item

_BRANCHES: Final = ("├─ ", "└─ ", "│  ", "   ")
_ASCII_BRANCHES: Final = ("|- ", "`- ", "|  ", "   ")


def lines_of(item: Item, *, width: int | None = None, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a drawing, with ANSI colours.

    Args:
        item: the drawing.
        width: the most characters of a line; None means no limit.
        encoding: the encoding of the terminal. If it has no box-drawing characters, ASCII characters are used.
    """
    try:
        "".join(_BRANCHES).encode(encoding)
        branches = _BRANCHES
    except (UnicodeError, LookupError):
        branches = _ASCII_BRANCHES
    return [_line(each, before, width) for before, each in _rows(item, branches)]


def _rows(item: Item, branches: Sequence[str], before: str = "", below: str = "") -> Iterator[tuple[str, Item]]:
    """Yield each item with the text that leads to it; ``below`` leads to the item's children."""
    yield before, item
    tee, corner, bar, blank = branches
    for child in item.children:
        last = child is item.children[-1]
        yield from _rows(child, branches, below + (corner if last else tee), below + (blank if last else bar))


def _line(item: Item, before: str, width: int | None) -> str:
    rest = "  ".join(part for part in (item.label, item.id, item.note) if part)
    # An exception's text may hold line breaks, and control characters would move the terminal's cursor.
    rest = "".join(c if c.isprintable() else " " for c in rest)
    if item.state is None:
        return f"{before}{rest}"[:width]
    room = None if width is None else max(width - len(before) - len(item.state) - 2, 0)
    colour = COLOURS.get(item.state, (None,))[0]
    return f"{before}{click.style(item.state, fg=colour, bold=True)}  {rest[:room]}"
