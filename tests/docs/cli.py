"""Generate docs/cli.md from the commands: ``python -m tests.docs.cli``.

Descriptions, arguments and options are the ones that ``--help`` prints. The options that all commands share are listed
once. Nothing is written by hand, so the page can't differ from the commands.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Final

import click

from taskq_cloud.cli import main

_HEAD: Final = """# Command line

This page lists all commands and options of `taskq`. It is generated from what `taskq COMMAND --help` prints:
`python -m tests.docs.cli > docs/cli.md`. A test compares the two.

An error is printed as one line on standard error, and the exit code is 1. A wrong option or argument is a usage error,
with exit code 2. Where a command has other exit codes, its section lists them. `python -m taskq_cloud` is the same
program as `taskq`.
"""
_NOT_SHARED: Final = frozenset({"help", "version"})


def page() -> str:
    """Return the page, as Markdown."""
    context = _context("taskq", main, None)
    shared = {option for each in _options(main) if each.name not in _NOT_SHARED for option in each.opts}
    parts = [
        _HEAD,
        *_contents(context),
        "## Options of all commands\n",
        *list(_paragraphs(main))[1:],  # the first paragraph describes the program
        *_table(context, [each for each in _options(main) if each.name not in _NOT_SHARED]),
        "`taskq --version` prints the version, and `--help`, after any command, its description and options.\n",
        *(part for name in main.list_commands(context) for part in _section(name, context, shared)),
    ]
    return "\n".join(parts)


def _contents(context: click.Context) -> Iterator[str]:
    commands = [_subcommand(context, name) for name in main.list_commands(context)]
    lines = [f"- [taskq {each.name}](#taskq-{each.name}): {each.get_short_help_str(limit=200)}" for each in commands]
    yield "\n".join(lines) + "\n"


def _subcommand(context: click.Context, name: str) -> click.Command:
    assert isinstance(context.command, click.Group)
    command = context.command.get_command(context, name)
    assert command is not None
    return command


def _section(name: str, parent: click.Context, shared: set[str]) -> Iterator[str]:
    command = _subcommand(parent, name)
    context = _context(name, command, parent)
    level = "##" if parent.parent is None else "###"
    yield f"{level} {context.command_path}\n"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield from _paragraphs(command)
    yield from _table(context, [each for each in _options(command) if not shared.intersection(each.opts)])
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            yield from _section(each, context, shared)


def _context(name: str, command: click.Command, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, max_content_width=1000)


def _options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


def _paragraphs(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):  # click's mark of lines that stay as they are
            title, _, lines = paragraph.removeprefix("\b\n").partition("\n")
            yield f"{title}\n\n```text\n{inspect.cleandoc(lines)}\n```\n"
        else:
            yield f"{paragraph}\n"


def _table(context: click.Context, options: list[click.Option]) -> Iterator[str]:
    rows = [record for each in options if (record := each.get_help_record(context))]
    if rows:
        lines = [f"| {_code(declared)} | {_meaning(text)} |" for declared, text in rows]
        yield "\n".join(["| option | meaning |", "|---|---|", *lines]) + "\n"


def _meaning(text: str) -> str:
    """Write ``Help.  [default: 1; x>=1]`` with round brackets, as square ones make a link, and with words."""
    words = re.sub(r" \[(.+)\]$", r" (\1)", " ".join(text.split())).replace("] [", "; ")
    return re.sub(r"\bx>(=?)", lambda range_: "at least " if range_[1] else "above ", words)


def _code(declared: str) -> str:
    """Write ``-l, --loglevel [debug|info]`` as code, each name by itself."""
    escaped = declared.replace("|", r"\|")
    return re.sub(r"(?:(?<=^)|(?<=, ))(-.*?)(?=, -|$)", r"`\1`", escaped)


if __name__ == "__main__":
    sys.stdout.write(page())
