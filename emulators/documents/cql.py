"""Reads the statements of CQL that clients of results make: a part of the language, on tables of one partition key.

Source: Cassandra's "The Cassandra Query Language", 3.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<blob>0[xX][0-9a-fA-F]*)|(?P<number>-?\d+)"""
    r"""|(?P<name>"[^"]+"|[A-Za-z_]\w*)|(?P<other>[?(),.=*;<>]))"""
)


@dataclass(frozen=True)
class Marker:
    """A value that is bound later: its place among the values."""

    number: int


@dataclass
class Statement:
    """A statement, with values or markers.

    Attributes:
        kind: ``"select"``, ``"insert"``, ``"update"``, ``"delete"``, ``"create"``, ``"alter"`` or ``"use"``.
        table: the table, with its keyspace if that is written.
        columns: the columns that are read, created or added; empty: all.
        values: column -> the value that is written.
        where: column -> the value that it must have.
        conditions: column -> the value that it must have for a write.
        ttl: the time to live; None: for ever.
        bound: the columns of the markers in their order; ``"[ttl]"`` for a time to live.
    """

    kind: str
    table: tuple[str, str] = ("", "")
    columns: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    static: set[str] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    ttl: Any = None
    if_not_exists: bool = False
    limit: int | None = None
    bound: list[str] = field(default_factory=list)


class SyntaxException(Exception):
    """A statement that can't be read."""


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: Iterator[tuple[str, str]] = self._divided(text)
        self._next: tuple[str, str] | None = next(self._tokens, None)
        self.statement = Statement("")

    @staticmethod
    def _divided(text: str) -> Iterator[tuple[str, str]]:
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise SyntaxException(f"no viable alternative at input '{text[place : place + 20]}'")
            place = found.end()
            yield found.lastgroup, found[found.lastgroup]

    def take(self) -> str:
        if self._next is None:
            raise SyntaxException("the statement ends too early")
        kind, text = self._next
        self._next = next(self._tokens, None)
        if kind == "name":
            return text[1:-1] if text.startswith('"') else text.lower()
        return text

    def takes(self, *words: str) -> bool:
        """Take a word if it is the next one."""
        if self._next is None or self._next[1].lower() not in words:
            return False
        self.take()
        return True

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.takes(word):
                raise SyntaxException(f"expecting {word.upper()}, found {self._next}")

    def value(self, column: str) -> Any:
        if self._next is None:
            raise SyntaxException("the statement ends too early")
        kind, text = self._next
        self.take()
        match kind:
            case "text":
                return text[1:-1].replace("''", "'")
            case "blob":
                return bytes.fromhex(text[2:])
            case "number":
                return int(text)
            case _ if text == "?":
                self.statement.bound.append(column)
                return Marker(len(self.statement.bound) - 1)
            case _ if text.lower() == "null":
                return None
        raise SyntaxException(f"{text} is not a value")

    def table(self) -> tuple[str, str]:
        first = self.take()
        return (first, self.take()) if self.takes(".") else ("", first)

    def names(self, end: str) -> list[str]:
        names: list[str] = []
        while not self.takes(end):
            names.append(self.take())
            self.takes(",")
        return names

    def pairs(self, separator: str) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while True:
            column = self.take()
            self.expect("=")
            pairs[column] = self.value(column)
            if not self.takes(separator):
                return pairs

    def using(self) -> None:
        if self.takes("using"):
            self.expect("ttl")
            self.statement.ttl = self.value("[ttl]")

    def tail(self) -> None:
        if self.takes("where"):
            self.statement.where = self.pairs("and")
        if self.takes("if"):
            self.statement.conditions = self.pairs("and")
        if self.takes("limit"):
            self.statement.limit = int(self.take())
        self.takes(";")
        if self._next is not None:
            raise SyntaxException(f"extraneous input {self._next[1]!r}")

    def column_definition(self) -> None:
        name, kind = self.take(), self.take()
        self.statement.columns.append(name)
        self.statement.types[name] = kind
        if self.takes("static"):
            self.statement.static.add(name)


def parse(text: str) -> Statement:
    """Read a statement.

    Raises:
        SyntaxException: it can't be read.
    """
    reader = _Reader(text)
    statement = reader.statement
    statement.kind = reader.take()
    match statement.kind:
        case "select":
            statement.columns = [] if reader.takes("*") else reader.names("from")
            if not statement.columns:
                reader.expect("from")
            statement.table = reader.table()
        case "insert":
            reader.expect("into")
            statement.table = reader.table()
            reader.expect("(")
            columns = reader.names(")")
            reader.expect("values", "(")
            for column in columns:
                statement.values[column] = reader.value(column)
                reader.takes(",")
            reader.expect(")")
            reader.using()
        case "update":
            statement.table = reader.table()
            reader.using()
            reader.expect("set")
            statement.values = reader.pairs(",")
        case "delete":
            reader.expect("from")
            statement.table = reader.table()
        case "use":
            statement.table = (reader.take(), "")
        case "create" | "alter":
            _definition(reader)
        case other:
            raise SyntaxException(f"no viable alternative at input {other!r}")
    reader.tail()
    return statement


def _definition(reader: _Reader) -> None:
    statement = reader.statement
    reader.expect("table")
    if reader.takes("if"):
        reader.expect("not", "exists")
        statement.if_not_exists = True
    statement.table = reader.table()
    if statement.kind == "alter":
        reader.expect("add")
        while not statement.columns or reader.takes(","):
            reader.column_definition()
        return
    reader.expect("(")
    while not reader.takes("primary"):
        reader.column_definition()
        reader.expect(",")
    # The tables of results have these keys; others are not understood.
    reader.expect("key", "(", "(", "task_id", ")", ",", "date_done", ")", ")")
    reader.expect("with", "clustering", "order", "by", "(", "date_done", "desc", ")")
