"""Print a command's result, hints and warnings, and lay out tables.

Names, values and errors that are printed may come from whoever can send a message or write a result. So all texts are
printed by this module, which escapes their control characters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from taskq_cloud.bootstrap.log_output import PatientOutput, log_output
from taskq_cloud.bootstrap.logs import printable
from taskq_cloud.cli.options import given
from taskq_cloud.core import serializers


def echo(text: str, *, err: bool = False) -> None:
    """Print text, on standard error if ``err`` is set."""
    click.echo(printable(text), err=err)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JSON that any reader takes: NaN and infinity become null."""
    text = json.dumps(value, indent=indent)
    strict = serializers.strict(text)
    return text if strict is text else json.dumps(json.loads(strict), indent=indent)


def one_line(text: str) -> str:
    """Escape line breaks, so that a text can't pass for several lines of the output."""
    return printable(text).replace("\n", "\\n")


def say(context: click.Context, text: str) -> None:
    """Print a hint or a warning on standard error, unless ``--quiet`` is given; nobody needs to read it."""
    if not given(context, "quiet"):
        output = log_output()
        if isinstance(output, PatientOutput):
            output.write(printable(text) + "\n")
            output.close(0)
        else:
            echo(text, err=True)


def as_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Lay out rows in columns, with two spaces between them.

    Args:
        headings: the heading of each column.
        rows: the cells of each row, in the order of the headings.
        numbers: whether all columns but the first hold numbers, which are aligned to the right.
    """
    table = [list(map(one_line, cells)) for cells in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if numbers and position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    )
