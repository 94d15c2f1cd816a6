"""Changes the imports of a file from ``celery`` to ``taskq_cloud.celery``, by the positions of the syntax tree.

Everything else of the file stays as it is: comments, quotes, line ends.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from taskq_cloud.cli.migrate.names import KOMBU_ERRORS, has_module, is_object, ours

_PATH: Final = re.compile(r"celery(\.[A-Za-z_]\w*)+(:[A-Za-z_][\w.]*)?")
_TASKS: Final = frozenset(
    {
        "celery.accumulate",
        "celery.backend_cleanup",
        "celery.chain",
        "celery.chord",
        "celery.chord_unlock",
        "celery.chunks",
        "celery.group",
        "celery.map",
        "celery.starmap",
    }
)
"""The names of built-in tasks, which stay; some are names of functions, too."""
_MODULE_LISTS: Final = frozenset(
    {"pytest_plugins", "imports", "include", "CELERY_IMPORTS", "CELERY_INCLUDE", "loader", "import_module"}
)
"""Names whose values are modules. Elsewhere the path of a module is taken for the name of a logger, and kept."""

_ERRORS: Final = "taskq_cloud.celery.exceptions"


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in the bytes of a file.

    Args:
        start: the offset of the first byte.
        end: the offset after the last byte.
        text: the new text.
        line: the line, counted from 1.
    """

    start: int
    end: int
    text: str
    line: int


class Source:
    """The bytes of a file, and its syntax tree.

    Args:
        content: the bytes, in UTF-8.

    Raises:
        SyntaxError: the file isn't Python of this version.
        UnicodeDecodeError: it isn't in UTF-8.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        content.decode("utf-8")
        self.tree = ast.parse(content)
        self._starts = [0]
        for line in content.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._shift = 3 if content.startswith(b"\xef\xbb\xbf") else 0

    def span(self, node: ast.stmt | ast.expr) -> tuple[int, int]:
        """Return the offsets of a node's first byte, and of the byte after its last one."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column + (self._shift if line == 1 else 0)

    def text(self, start: int, end: int) -> str:
        """Return a part of the file."""
        return self.content[start:end].decode("utf-8")

    def stands_alone(self, start: int, end: int) -> bool:
        """Return whether a statement is alone on its lines."""
        before = self.content[:start].rpartition(b"\n")[2]
        after = re.match(rb"[^\r\n]*", self.content[end:])
        rest = after[0].strip() if after else b""
        return not before.strip() and (not rest or rest.startswith(b"#"))


def edits_of(source: Source) -> list[Edit]:
    """Return the replacements that a file needs, in order."""
    return sorted(_edits(source), key=lambda edit: edit.start)


def rewritten(source: Source) -> bytes:
    """Return the file with its replacements.

    Raises:
        SyntaxError: the result isn't Python, which would be a fault of this module.
    """
    content = source.content
    for edit in reversed(edits_of(source)):
        content = content[: edit.start] + edit.text.encode() + content[edit.end :]
    ast.parse(content)
    return content


def _edits(source: Source) -> Iterator[Edit]:
    paths = _strings_of_modules(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import) and any(map(_is_celerys, (alias.name for alias in node.names))):
            yield _import(source, node)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and _is_celerys(node.module or ""):
            yield _renamed(source, node, "celery", "taskq_cloud.celery")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "kombu.exceptions":
            yield from _errors_of_kombu(source, node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            value = node.value
            if value in _TASKS:
                continue
            if _PATH.fullmatch(value) and (is_object(value) or (id(node) in paths and has_module(value))):
                yield from _string(source, node, value)


def _is_celerys(module: str) -> bool:
    return module.partition(".")[0] == "celery"


def _import(source: Source, node: ast.Import) -> Edit:
    start, end = source.span(node)
    statements = []
    others = [alias for alias in node.names if not _is_celerys(alias.name)]
    if others:
        statements.append("import " + ", ".join(map(_alias, others)))
    binds_celery = False
    for alias in node.names:
        if not _is_celerys(alias.name):
            continue
        if alias.name == "celery":
            statements.append(f"from taskq_cloud import celery{f' as {alias.asname}' if alias.asname else ''}")
            binds_celery = binds_celery or not alias.asname
        else:
            statements.append(f"import {ours(alias.name)}{f' as {alias.asname}' if alias.asname else ''}")
    # `import celery.signals` binds the name celery, which the code then uses.
    if not binds_celery and any(_is_celerys(alias.name) and not alias.asname for alias in node.names):
        statements.append("from taskq_cloud import celery")
    return Edit(start, end, _separator(source, start, end).join(statements), node.lineno)


def _separator(source: Source, start: int, end: int) -> str:
    """Return the text between the statements that take the place of one."""
    line_start = source.content.rfind(b"\n", 0, start) + 1
    newline = "\r\n" if b"\r\n" in source.content else "\n"
    return f"{newline}{source.text(line_start, start)}" if source.stands_alone(start, end) else "; "


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _errors_of_kombu(source: Source, node: ast.ImportFrom) -> Iterator[Edit]:
    """Import the errors of brokers from this package; other errors of kombu stay."""
    errors = [alias for alias in node.names if alias.name in KOMBU_ERRORS]
    others = [alias for alias in node.names if alias.name not in KOMBU_ERRORS]
    start, end = source.span(node)
    if errors and not others:
        yield _renamed(source, node, "kombu.exceptions", _ERRORS)
    elif errors:
        first = f"from kombu.exceptions import {', '.join(map(_alias, others))}"
        second = f"from {_ERRORS} import {', '.join(map(_alias, errors))}"
        yield Edit(start, end, _separator(source, start, end).join((first, second)), node.lineno)


def _renamed(source: Source, node: ast.ImportFrom, before: str, after: str) -> Edit:
    """Change the beginning of the module's name in ``from a import b``."""
    start, end = source.span(node)
    statement = source.text(start, end)
    # The module's name is the first name after "from", which may stand on another line.
    tokens = tokenize.generate_tokens(io.StringIO(statement).readline)
    name = next(token for token in tokens if token.type == tokenize.NAME and token.string != "from")
    lines = statement.splitlines(keepends=True)
    at = sum(map(len, lines[: name.start[0] - 1])) + name.start[1]
    position = start + len(statement[:at].encode())
    return Edit(position, position + len(before), after, node.lineno)


def _string(source: Source, node: ast.Constant, value: str) -> Iterator[Edit]:
    start, end = source.span(node)
    written = source.text(start, end)
    if written.count(value) == 1:  # and not put together of parts, or written with escapes
        position = start + len(written[: written.index(value)].encode())
        yield Edit(position, position + len("celery"), "taskq_cloud.celery", node.lineno)


def _strings_of_modules(tree: ast.AST) -> set[int]:
    """Return the ids of the strings that are values of names for modules."""
    found: set[int] = set()
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            values = [node.value] if any(_last_name(target) in _MODULE_LISTS for target in node.targets) else []
        elif isinstance(node, ast.keyword):
            values = [node.value] if node.arg in _MODULE_LISTS else []
        elif isinstance(node, ast.Call) and _last_name(node.func) in _MODULE_LISTS:
            values = list(node.args)
        found.update(id(each) for value in values for each in ast.walk(value))
    return found


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
