"""Print a command's hints and warnings, and lay out the tables of its result."""

from __future__ import annotations

from collections.abc import Sequence

import click

from taskq_cloud.cli.options import given


def say(context: click.Context, text: str) -> None:
    """Print a hint or a warning on standard error, unless ``--quiet`` is given."""
    if not given(context, "quiet"):
        click.echo(text, err=True)


def as_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Lay out rows in columns, with two spaces between them.

    Args:
        headings: the heading of each column.
        rows: the cells of each row, in the order of the headings.
        numbers: whether all columns but the first hold numbers, which are aligned to the right.
    """
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if numbers and position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    )
