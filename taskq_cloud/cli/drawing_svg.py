"""A workflow's tree as a picture: one SVG file that needs nothing else.

One row an item, as in the text: the state in a box of its colour, the name, the times. Every column begins where the
widest text of the one before has ended, so no text runs over another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from taskq_cloud.cli.drawing import COLOURS, OTHER_COLOUR, Item

CHARACTER: Final = 8
"""Width of a character, in pixels: a monospaced font's of 12 pixels is 7.2, and of a few fonts up to 7.9."""
ROW: Final = 26
INDENT: Final = 24
MARGIN: Final = 16
GAP: Final = 16
LONGEST: Final = 120
"""Characters of one text; the rest is in the tooltip."""

_FONT: Final = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12"'


@dataclass(frozen=True, slots=True)
class _Row:
    item: Item
    depth: int
    parent: int | None

    @property
    def begins_at(self) -> int:
        return MARGIN + self.depth * INDENT

    @property
    def chip_width(self) -> int:
        return 0 if self.item.state is None else _width(self.item.state) + 12

    @property
    def label_at(self) -> int:
        return self.begins_at + (self.chip_width + 8 if self.chip_width else 0)

    @property
    def label_ends_at(self) -> int:
        return self.label_at + _width(_short(self.item.label))


def as_svg(item: Item) -> str:
    """A drawing as SVG."""
    rows = list(_rows(item, 0, None, [0]))
    notes_at = max(row.label_ends_at for row in rows) + GAP
    width = notes_at + max(_width(_short(row.item.note)) for row in rows) + MARGIN
    height = 2 * MARGIN + len(rows) * ROW
    size = f'width="{width}" height="{height}"'
    written = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" role="img" {_FONT}>',
        f"<title>{_text(f'{item.label} {item.id}: {item.note}')}</title>",
        f'<rect {size} fill="#ffffff"/>',
    ]
    for index, row in enumerate(rows):
        written += _drawn(row, index, rows, notes_at)
    return "\n".join([*written, "</svg>"])


def _rows(item: Item, depth: int, parent: int | None, number: list[int]) -> Iterator[_Row]:
    own = number[0]
    number[0] += 1
    yield _Row(item, depth, parent)
    for child in item.children:
        yield from _rows(child, depth + 1, own, number)


def _drawn(row: _Row, index: int, rows: list[_Row], notes_at: int) -> Iterator[str]:
    top = MARGIN + index * ROW
    middle, baseline = top + ROW // 2, top + ROW // 2 + 4
    if row.parent is not None:
        above, x = MARGIN + row.parent * ROW + ROW - 4, rows[row.parent].begins_at + 8
        yield f'<path d="M{x} {above}V{middle}H{row.begins_at - 2}" fill="none" stroke="#c0c4c9"/>'
    item = row.item
    yield f"<g><title>{_text(' '.join(part for part in (item.label, item.id, item.note) if part))}</title>"
    if item.state is not None:
        colour = COLOURS.get(item.state, ("", OTHER_COLOUR))[1]
        yield (
            f'<rect x="{row.begins_at}" y="{top + 3}" width="{row.chip_width}" height="{ROW - 6}" rx="4" '
            f'fill="{colour}"/>'
        )
        yield f'<text x="{row.begins_at + 6}" y="{baseline}" fill="#ffffff">{_text(item.state)}</text>'
    yield f'<text x="{row.label_at}" y="{baseline}" fill="#202124">{_text(_short(item.label))}</text>'
    if item.note:
        yield f'<text x="{notes_at}" y="{baseline}" fill="{OTHER_COLOUR}">{_text(_short(item.note))}</text>'
    yield "</g>"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _width(text: str) -> int:
    return CHARACTER * sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _text(text: str) -> str:
    """A text as XML, which has no way to write some characters."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
