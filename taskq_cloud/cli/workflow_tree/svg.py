"""A workflow's drawing as a self-contained SVG picture.

Each item has one row: its state in a coloured box, its name, and its times and error. The column of times begins to the
right of the longest name, so that texts don't overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from taskq_cloud.cli.workflow_tree.item import COLOURS, OTHER_COLOUR, Item

CHARACTER_WIDTH: Final = 8
"""Pixels to reserve for a character: in most monospaced fonts of 12 pixels it takes 7.2, in a few up to 7.9."""
ROW_HEIGHT: Final = 26
INDENT: Final = 24
MARGIN: Final = 16
GAP: Final = 16
LONGEST_TEXT: Final = 120
"""Characters of a text that are drawn; the tooltip holds the whole text."""

_FONT: Final = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12"'


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the picture, and where its parts are, in pixels from the left; ``parent`` is the index of a row."""

    item: Item
    depth: int
    parent: int | None

    @property
    def left(self) -> int:
        return MARGIN + self.depth * INDENT

    @property
    def box_width(self) -> int:
        return 0 if self.item.state is None else _width(self.item.state) + 12

    @property
    def label_left(self) -> int:
        return self.left + (self.box_width + 8 if self.box_width else 0)

    @property
    def label_right(self) -> int:
        return self.label_left + _width(_short(self.item.label))


def write(item: Item) -> str:
    """Return a drawing as the text of an SVG file."""
    rows = list(_rows(item, 0, None, count()))
    notes_left = max(row.label_right for row in rows) + GAP
    width = notes_left + max(_width(_short(row.item.note)) for row in rows) + MARGIN
    height = 2 * MARGIN + len(rows) * ROW_HEIGHT
    size = f'width="{width}" height="{height}"'
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" role="img" {_FONT}>',
        f"<title>{_escaped(f'{item.label} {item.id}: {item.note}')}</title>",
        f'<rect {size} fill="#ffffff"/>',
    ]
    for index, row in enumerate(rows):
        elements += _elements(row, index, rows, notes_left)
    return "\n".join([*elements, "</svg>"])


def _rows(item: Item, depth: int, parent: int | None, numbers: Iterator[int]) -> Iterator[_Row]:
    number = next(numbers)
    yield _Row(item, depth, parent)
    for child in item.children:
        yield from _rows(child, depth + 1, number, numbers)


def _elements(row: _Row, index: int, rows: list[_Row], notes_left: int) -> Iterator[str]:
    top = MARGIN + index * ROW_HEIGHT
    middle, baseline = top + ROW_HEIGHT // 2, top + ROW_HEIGHT // 2 + 4
    if row.parent is not None:
        above, x = MARGIN + row.parent * ROW_HEIGHT + ROW_HEIGHT - 4, rows[row.parent].left + 8
        yield f'<path d="M{x} {above}V{middle}H{row.left - 2}" fill="none" stroke="#c0c4c9"/>'
    item = row.item
    yield f"<g><title>{_escaped(' '.join(part for part in (item.label, item.id, item.note) if part))}</title>"
    if item.state is not None:
        colour = COLOURS.get(item.state, ("", OTHER_COLOUR))[1]
        yield (
            f'<rect x="{row.left}" y="{top + 3}" width="{row.box_width}" height="{ROW_HEIGHT - 6}" rx="4" '
            f'fill="{colour}"/>'
        )
        yield f'<text x="{row.left + 6}" y="{baseline}" fill="#ffffff">{_escaped(item.state)}</text>'
    yield f'<text x="{row.label_left}" y="{baseline}" fill="#202124">{_escaped(_short(item.label))}</text>'
    if item.note:
        yield f'<text x="{notes_left}" y="{baseline}" fill="{OTHER_COLOUR}">{_escaped(_short(item.note))}</text>'
    yield "</g>"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _width(text: str) -> int:
    return CHARACTER_WIDTH * sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _escaped(text: str) -> str:
    """Escape a text for XML; control characters, which XML can't hold, are replaced."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
