"""A server that speaks Cassandra's native protocol, version 4: one node, and the statements that ``cql`` reads.

Sources: "CQL Binary Protocol v4", and Cassandra's texts of errors. Conditional writes are decided one after the other,
as lightweight transactions are. A conditional batch is of one partition.
"""

from __future__ import annotations

import contextlib
import hashlib
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from emulators.documents.cql import Marker, Statement, SyntaxException, parse

_VERSION: Final = 4
_HEADER: Final = struct.Struct(">BBhBI")
_ERROR, _READY, _AUTHENTICATE, _SUPPORTED, _RESULT, _AUTHENTICATED = 0x00, 0x02, 0x03, 0x06, 0x08, 0x10
_VOID, _ROWS, _SET_KEYSPACE, _PREPARED, _SCHEMA_CHANGE = range(1, 6)

_PROTOCOL: Final = 0x000A
_BAD_CREDENTIALS: Final = 0x0100
UNAVAILABLE: Final = 0x1000
OVERLOADED: Final = 0x1001
WRITE_TIMEOUT: Final = 0x1100
READ_TIMEOUT: Final = 0x1200
_SYNTAX: Final = 0x2000
UNAUTHORIZED: Final = 0x2100
INVALID: Final = 0x2200
_CONFIGURATION: Final = 0x2300
_EXISTS: Final = 0x2400
_UNPREPARED: Final = 0x2500

_TYPES: Final = {
    "text": 0x0D,
    "blob": 0x03,
    "timestamp": 0x0B,
    "boolean": 0x04,
    "int": 0x09,
    "uuid": 0x0C,
    "inet": 0x10,
}
_KEYS: Final = ("task_id", "date_done")
_HOST: Final = UUID("5f0f6cd6-6f3c-4a8e-9d3f-2f6a36f0b8aa")
_SYSTEM: Final[Mapping[tuple[str, str], Mapping[str, tuple[str, Any]]]] = {
    ("system", "local"): {
        "key": ("text", "local"),
        "cluster_name": ("text", "Test Cluster"),
        "data_center": ("text", "datacenter1"),
        "rack": ("text", "rack1"),
        "release_version": ("text", "4.1.3"),
        "cql_version": ("text", "3.4.6"),
        "native_protocol_version": ("text", "4"),
        "partitioner": ("text", "org.apache.cassandra.dht.Murmur3Partitioner"),
        "host_id": ("uuid", _HOST.bytes),
        "schema_version": ("uuid", _HOST.bytes),
        "rpc_address": ("inet", bytes([127, 0, 0, 1])),
        "broadcast_address": ("inet", bytes([127, 0, 0, 1])),
        "listen_address": ("inet", bytes([127, 0, 0, 1])),
    }
}


@dataclass(frozen=True)
class Failure:
    """An error that a statement gets.

    Args:
        code: the error's code.
        message: its text.
        more: what the error's frame has behind the text.
        carries_out: whether the statement is carried out nevertheless.
    """

    code: int
    message: str
    more: bytes = b""
    carries_out: bool = False


def unavailable() -> Failure:
    """Too few replicas are up."""
    return Failure(UNAVAILABLE, "Cannot achieve consistency level LOCAL_QUORUM", struct.pack(">HII", 6, 2, 1))


def read_timeout() -> Failure:
    """Too few replicas have answered a read."""
    more = struct.pack(">HIIB", 6, 1, 2, 0)
    return Failure(READ_TIMEOUT, "Operation timed out - received only 1 responses.", more)


def write_timeout(kind: str = "CAS", *, carries_out: bool) -> Failure:
    """Too few replicas have answered a write, which may have been carried out."""
    more = struct.pack(">HII", 6, 1, 2) + _string(kind)
    return Failure(WRITE_TIMEOUT, "Operation timed out - received only 1 responses.", more, carries_out)


def overloaded() -> Failure:
    """The node has too many requests."""
    return Failure(OVERLOADED, "Server is overloaded")


class _Refused(Exception):
    def __init__(self, code: int, message: str, more: bytes = b"") -> None:
        super().__init__(message)
        self.failure = Failure(code, message, more)


@dataclass
class _Cell:
    value: Any
    expires_at: float | None


@dataclass
class _Partition:
    static: dict[str, _Cell] = field(default_factory=dict)
    rows: dict[int, dict[str, _Cell]] = field(default_factory=dict)


@dataclass
class Table:
    """A table: its columns, and its partitions."""

    types: dict[str, str]
    static: set[str]
    partitions: dict[str, _Partition] = field(default_factory=dict)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of a partition, from the latest on; a partition without rows shows its static columns."""
        partition = self.partitions.get(key, _Partition())
        static = _living(partition.static)
        rows = [
            {"task_id": key, "date_done": done, **static, **cells}
            for done, stored in sorted(partition.rows.items(), reverse=True)
            if (cells := _living(stored))
        ]
        return rows or ([{"task_id": key, **static}] if static else [])


def _living(cells: Mapping[str, _Cell]) -> dict[str, Any]:
    now = time.time()
    return {
        name: cell.value
        for name, cell in cells.items()
        if cell.value is not None and (cell.expires_at is None or cell.expires_at > now)
    }


@dataclass
class _Session:
    keyspace: str = ""
    user: str = ""


class Cassandra:
    """The server, in threads of this process. As a context manager it answers from entry to exit.

    Args:
        user: the only user; empty: everybody is served.
        password: the user's password.
        keyspaces: the keyspaces.

    Attributes:
        tables: keyspace and name -> table.
        failures: what the next statements on tables of results get.
        read_only: whether the user may only read.
        statements: the statements on tables of results that were carried out; a batch is one.
    """

    def __init__(self, user: str = "", password: str = "", keyspaces: Sequence[str] = ("celery",)) -> None:
        self.tables: dict[tuple[str, str], Table] = {}
        self.failures: list[Failure] = []
        self.read_only = False
        self.statements: list[str] = []
        self._user, self._password, self._keyspaces = user, password, list(keyspaces)
        self._lock = threading.Lock()
        self._prepared: dict[bytes, str] = {}
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port at which it answers."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rows(self, key: str, table: str = "celery_results", keyspace: str = "celery") -> list[dict[str, Any]]:
        """The rows of a partition, from the latest on."""
        with self._lock:
            return self.tables[keyspace, table].rows(key)

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        serve = self._serve

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    serve(self)

        return Handler

    def _serve(self, connection: socketserver.StreamRequestHandler) -> None:
        session = _Session()
        while len(head := connection.rfile.read(_HEADER.size)) == _HEADER.size:
            version, _, stream, opcode, length = _HEADER.unpack(head)
            body = connection.rfile.read(length)
            if version != _VERSION:
                text = f"Invalid or unsupported protocol version ({version}); supported versions are (3/v3, 4/v4)"
                answered, content = _ERROR, _error(Failure(_PROTOCOL, text))
            else:
                with self._lock:
                    answered, content = self._answer(opcode, body, session)
            connection.wfile.write(_HEADER.pack(0x80 | _VERSION, 0, stream, answered, len(content)) + content)

    def _answer(self, opcode: int, body: bytes, session: _Session) -> tuple[int, bytes]:
        reader = _Body(body)
        operations: dict[int, Callable[[_Body, _Session], bytes]] = {
            0x07: self._query,
            0x09: self._prepare,
            0x0A: self._execute,
            0x0D: self._batch,
        }
        try:
            match opcode:
                case 0x01 if self._user:
                    return _AUTHENTICATE, _string("org.apache.cassandra.auth.PasswordAuthenticator")
                case 0x05:
                    return _SUPPORTED, _options({"CQL_VERSION": ["3.4.6"], "COMPRESSION": []})
                case 0x0F:
                    _, user, password = (reader.value() or b"").split(b"\0")
                    if (user.decode(), password.decode()) != (self._user, self._password):
                        text = f"Provided username {user.decode()} and/or password are incorrect"
                        raise _Refused(_BAD_CREDENTIALS, text)
                    return _AUTHENTICATED, struct.pack(">i", -1)
                case _ if opcode in operations:
                    return _RESULT, operations[opcode](reader, session)
            return _READY, b""
        except _Refused as error:
            return _ERROR, _error(error.failure)
        except SyntaxException as error:
            return _ERROR, _error(Failure(_SYNTAX, f"line 1:0 {error}"))

    def _query(self, reader: _Body, session: _Session) -> bytes:
        text = reader.long_string()
        statement = parse(text)
        return self._carried_out([text], [self._bound(statement, reader.parameters(), session)], session)

    def _prepare(self, reader: _Body, session: _Session) -> bytes:
        text = reader.long_string()
        statement = parse(text)
        types = {**self._types(statement, session), "[ttl]": "int"}
        number = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        self._prepared[number] = text
        columns = [(name, types[name]) for name in statement.bound]
        keys = [number for number, name in enumerate(statement.bound) if name == "task_id"][:1]
        markers = struct.pack(f">III{len(keys)}H", 1, len(columns), len(keys), *keys)
        markers += _string("celery") + _string(statement.table[1]) + _columns(columns)
        result = struct.pack(">II", 4, 0)
        if statement.kind == "select":
            result = _metadata([(name, types[name]) for name in statement.columns], statement.table)
        return struct.pack(">I", _PREPARED) + _short_bytes(number) + markers + result

    def _execute(self, reader: _Body, session: _Session) -> bytes:
        text = self._text(reader.short_bytes())
        return self._carried_out([text], [self._bound(parse(text), reader.parameters(), session)], session)

    def _batch(self, reader: _Body, session: _Session) -> bytes:
        reader.byte()
        texts, statements = list[str](), list[Statement]()
        for _ in range(reader.short()):
            text = self._text(reader.short_bytes()) if reader.byte() else reader.long_string()
            values = [reader.value() for _ in range(reader.short())]
            texts.append(text)
            statements.append(self._bound(parse(text), values, session))
        return self._carried_out(texts, statements, session)

    def _text(self, number: bytes) -> str:
        if number not in self._prepared:
            raise _Refused(_UNPREPARED, "Prepared query not found", _short_bytes(number))
        return self._prepared[number]

    def _table(self, statement: Statement, session: _Session) -> Table:
        keyspace, name = statement.table[0] or session.keyspace, statement.table[1]
        if keyspace not in self._keyspaces:
            raise _Refused(INVALID, f"keyspace {keyspace} does not exist")
        if (keyspace, name) not in self.tables:
            raise _Refused(INVALID, f"table {name} does not exist")
        return self.tables[keyspace, name]

    def _types(self, statement: Statement, session: _Session) -> dict[str, str]:
        if statement.table[0] == "system_schema":
            return dict.fromkeys(("keyspace_name", "table_name", "column_name"), "text")
        types = self._table(statement, session).types
        for name in [*statement.columns, *statement.values, *statement.where, *statement.conditions]:
            if name not in types:
                raise _Refused(INVALID, f"Undefined column name {name} in table {'.'.join(statement.table)}")
        return types

    def _bound(self, statement: Statement, values: Sequence[bytes | None], session: _Session) -> Statement:
        if not values:
            return statement
        types = {**self._types(statement, session), "[ttl]": "int"}
        bound = [_decoded(types[name], value) for name, value in zip(statement.bound, values, strict=True)]

        def filled(term: Any) -> Any:
            return bound[term.number] if isinstance(term, Marker) else term

        for terms in (statement.values, statement.where, statement.conditions):
            terms |= {name: filled(term) for name, term in terms.items()}
        statement.ttl = filled(statement.ttl)
        return statement

    def _carried_out(self, texts: Sequence[str], statements: Sequence[Statement], session: _Session) -> bytes:
        first = statements[0]
        if first.kind == "use":
            return self._use(first, session)
        if first.table[0].startswith("system"):
            return self._system(first)
        if self.read_only and first.kind != "select":
            right = {"create": "CREATE", "alter": "ALTER"}.get(first.kind, "MODIFY")
            raise _Refused(UNAUTHORIZED, f"User {self._user} has no {right} permission on <keyspace celery> or parents")
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and not failure.carries_out:
            raise _Refused(failure.code, failure.message, failure.more)
        self.statements.append("; ".join(texts))
        answer = self._changed(statements, session)
        if failure is not None:
            raise _Refused(failure.code, failure.message, failure.more)
        return answer

    def _use(self, statement: Statement, session: _Session) -> bytes:
        if statement.table[0] not in self._keyspaces:
            raise _Refused(INVALID, f"Keyspace '{statement.table[0]}' does not exist")
        session.keyspace = statement.table[0]
        return struct.pack(">I", _SET_KEYSPACE) + _string(session.keyspace)

    def _system(self, statement: Statement) -> bytes:
        where = statement.where
        if statement.table in _SYSTEM:
            row = _SYSTEM[statement.table]
            columns = [(name, row[name][0]) for name in statement.columns or row]
            return _rows(columns, [{name: row[name][1] for name, _ in columns}], statement.table)
        columns = [(name, "text") for name in statement.columns or ("key",)]
        rows = list[dict[str, Any]]()
        if statement.table == ("system_schema", "keyspaces") and statement.columns:
            rows = [{"keyspace_name": each} for each in self._keyspaces if where.get("keyspace_name", each) == each]
        if statement.table == ("system_schema", "columns") and statement.columns:
            table = self.tables.get((where["keyspace_name"], where["table_name"]))
            rows = [{"column_name": each} for each in (table.types if table else ())]
        return _rows(columns, rows, statement.table)

    def _changed(self, statements: Sequence[Statement], session: _Session) -> bytes:
        first = statements[0]
        match first.kind:
            case "create" | "alter":
                return self._define(first, session)
            case "select":
                table = self._table(first, session)
                self._types(first, session)
                rows = table.rows(first.where["task_id"])[: first.limit]
                return _rows([(name, table.types[name]) for name in first.columns], rows, first.table)
        conditions = [each for each in statements if each.conditions]
        refused = next((each for each in conditions if not self._holds(each, session)), None)
        if refused is None:
            for each in statements:
                self._write(each, session)
        if not conditions:
            return struct.pack(">I", _VOID)
        return self._decision(conditions[0], session, applied=refused is None)

    def _holds(self, statement: Statement, session: _Session) -> bool:
        row = self._current(statement, session)
        return all(row.get(name) == value for name, value in statement.conditions.items())

    def _current(self, statement: Statement, session: _Session) -> dict[str, Any]:
        return next(iter(self._table(statement, session).rows(statement.where["task_id"])), {})

    def _decision(self, statement: Statement, session: _Session, *, applied: bool) -> bytes:
        columns, row = [("[applied]", "boolean")], {"[applied]": applied}
        current = self._current(statement, session)
        if not applied and current:
            types = self._table(statement, session).types
            columns += [(name, types[name]) for name in statement.conditions]
            row |= {name: current.get(name) for name in statement.conditions}
        return _rows(columns, [row], statement.table)

    def _write(self, statement: Statement, session: _Session) -> None:
        table = self._table(statement, session)
        keys = statement.values if statement.kind == "insert" else statement.where
        if statement.kind == "delete":
            table.partitions.pop(keys["task_id"], None)
            return
        partition = table.partitions.setdefault(keys["task_id"], _Partition())
        expires_at = time.time() + statement.ttl if statement.ttl else None
        for name, value in statement.values.items():
            if name in _KEYS:
                continue
            if name in table.static:
                cells = partition.static
            else:
                done = keys["date_done"]
                cells = partition.rows.setdefault(done if isinstance(done, int) else 0, {})
            cells[name] = _Cell(value, expires_at)

    def _define(self, statement: Statement, session: _Session) -> bytes:
        keyspace, name = statement.table[0] or session.keyspace, statement.table[1]
        if keyspace not in self._keyspaces:
            raise _Refused(_CONFIGURATION, f"Keyspace '{keyspace}' doesn't exist")
        table = self.tables.get((keyspace, name))
        if statement.kind == "create":
            if table is not None and statement.if_not_exists:
                return struct.pack(">I", _VOID)
            if table is not None:
                text = f"Object {keyspace}.{name} already exists"
                raise _Refused(_EXISTS, text, _string(keyspace) + _string(name))
            self.tables[keyspace, name] = Table(statement.types, statement.static)
        else:
            if table is None:
                raise _Refused(INVALID, f"Table '{keyspace}.{name}' doesn't exist")
            for column in statement.columns:
                if column in table.types:
                    raise _Refused(INVALID, f"Column with name '{column}' already exists")
            table.types |= statement.types
            table.static |= statement.static
        kind = "CREATED" if statement.kind == "create" else "UPDATED"
        return struct.pack(">I", _SCHEMA_CHANGE) + b"".join(map(_string, (kind, "TABLE", keyspace, name)))


class _Body:
    """Reads the parts of a frame's body."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, length: int) -> bytes:
        self._place += length
        return self._content[self._place - length : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def value(self) -> bytes | None:
        length = int.from_bytes(self.take(4), "big", signed=True)
        return None if length < 0 else self.take(length)

    def short_bytes(self) -> bytes:
        return self.take(self.short())

    def long_string(self) -> str:
        return (self.value() or b"").decode()

    def parameters(self) -> list[bytes | None]:
        """The values of a query."""
        self.short()
        flags = self.byte()
        return [self.value() for _ in range(self.short())] if flags & 1 else []


def _string(text: str) -> bytes:
    return _short_bytes(text.encode())


def _short_bytes(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


def _options(options: Mapping[str, Sequence[str]]) -> bytes:
    content = struct.pack(">H", len(options))
    for name, values in options.items():
        content += _string(name) + struct.pack(">H", len(values)) + b"".join(map(_string, values))
    return content


def _error(failure: Failure) -> bytes:
    return struct.pack(">I", failure.code) + _string(failure.message) + failure.more


def _columns(columns: Sequence[tuple[str, str]]) -> bytes:
    return b"".join(_string(name) + struct.pack(">H", _TYPES[kind]) for name, kind in columns)


def _metadata(columns: Sequence[tuple[str, str]], table: tuple[str, str]) -> bytes:
    return struct.pack(">II", 1, len(columns)) + _string(table[0] or "celery") + _string(table[1]) + _columns(columns)


def _rows(columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]], table: tuple[str, str]) -> bytes:
    content = struct.pack(">I", _ROWS) + _metadata(columns, table) + struct.pack(">I", len(rows))
    return content + b"".join(_encoded(kind, row.get(name)) for row in rows for name, kind in columns)


def _encoded(kind: str, value: Any) -> bytes:
    match value:
        case None:
            return struct.pack(">i", -1)
        case bool():
            content = bytes([value])
        case int():
            content = struct.pack(">q" if kind == "timestamp" else ">i", value)
        case str():
            content = value.encode()
        case _:
            content = value
    return struct.pack(">i", len(content)) + content


def _decoded(kind: str, value: bytes | None) -> Any:
    if value is None:
        return None
    match kind:
        case "text":
            return value.decode()
        case "timestamp" | "int":
            return int.from_bytes(value, "big", signed=True)
    return value
