"""A server that speaks Cassandra's native protocol, version 4: one node, and the statements that ``cql`` reads.

Sources: "CQL Binary Protocol v4", and Cassandra's texts of errors. Conditional writes are decided one after the other,
as lightweight transactions are. A conditional batch is of one partition.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from emulators.documents.cassandra_frames import (
    AUTHENTICATE,
    AUTHENTICATED,
    BAD_CREDENTIALS,
    CONFIGURATION,
    ERROR,
    EXISTS,
    HEADER,
    INVALID,
    PREPARED,
    PROTOCOL,
    READY,
    RESULT,
    SCHEMA_CHANGE,
    SET_KEYSPACE,
    SUPPORTED,
    SYNTAX,
    UNAUTHORIZED,
    UNPREPARED,
    VERSION,
    VOID,
    Body,
    Failure,
    Refused,
    columns_of,
    decoded,
    error,
    metadata,
    options,
    rows,
    short_bytes,
    string,
)
from emulators.documents.cassandra_tables import SYSTEM, Table
from emulators.documents.cql import Marker, Statement, SyntaxException, parse


@dataclass
class _Session:
    keyspace: str = ""
    user: str = ""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Cassandra:
    """The server, in threads of this process, with the keyspace ``celery``.

    As a context manager it answers from entry to exit.

    Args:
        user: the only user; empty: everybody is served.
        password: the user's password.
        port: the port; 0: one that is free.

    Attributes:
        tables: keyspace and name -> table.
        failures: what the next statements on tables of results get.
        read_only: whether the user may only read.
        statements: the statements on tables of results that were carried out; a batch is one.
    """

    def __init__(
        self, user: str = "", password: str = "", keyspaces: Sequence[str] = ("celery",), port: int = 0
    ) -> None:
        self.tables: dict[tuple[str, str], Table] = {}
        self.failures: list[Failure] = []
        self.read_only = False
        self.statements: list[str] = []
        self._user, self._password, self._keyspaces = user, password, ("celery",)
        self._lock = threading.Lock()
        self._prepared: dict[bytes, str] = {}
        self._sockets: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), self._handler())

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
        self.stop()

    def stop(self) -> None:
        """Close the port and all connections."""
        self._server.shutdown()
        self._server.server_close()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def rows(self, key: str, table: str = "celery_results", keyspace: str = "celery") -> list[dict[str, Any]]:
        """The rows of a partition, from the latest on."""
        with self._lock:
            return self.tables[keyspace, table].rows(key)

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        serve, sockets = self._serve, self._sockets

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                sockets.add(self.connection)
                with contextlib.suppress(ConnectionError):
                    serve(self)
                sockets.discard(self.connection)

        return Handler

    def _serve(self, connection: socketserver.StreamRequestHandler) -> None:
        session = _Session()
        while len(head := connection.rfile.read(HEADER.size)) == HEADER.size:
            version, _, stream, opcode, length = HEADER.unpack(head)
            body = connection.rfile.read(length)
            if version != VERSION:
                text = f"Invalid or unsupported protocol version ({version}); supported versions are (3/v3, 4/v4)"
                answered, content = ERROR, error(Failure(PROTOCOL, text))
            else:
                with self._lock:
                    answered, content = self._answer(opcode, body, session)
            connection.wfile.write(HEADER.pack(0x80 | VERSION, 0, stream, answered, len(content)) + content)

    def _answer(self, opcode: int, body: bytes, session: _Session) -> tuple[int, bytes]:
        reader = Body(body)
        results: dict[int, Callable[[Body, _Session], bytes]] = {
            0x07: self._query,
            0x09: self._prepare,
            0x0A: self._execute,
            0x0D: self._batch,
        }
        try:
            if opcode in results:
                return RESULT, results[opcode](reader, session)
            return self._connecting(opcode, reader)
        except Refused as refusal:
            return ERROR, error(refusal.failure)
        except SyntaxException as refusal:
            return ERROR, error(Failure(SYNTAX, f"line 1:0 {refusal}"))

    def _connecting(self, opcode: int, reader: Body) -> tuple[int, bytes]:
        match opcode:
            case 0x01 if self._user:
                return AUTHENTICATE, string("org.apache.cassandra.auth.PasswordAuthenticator")
            case 0x05:
                return SUPPORTED, options({"CQL_VERSION": ["3.4.6"], "COMPRESSION": []})
            case 0x0F:
                return self._authenticated(reader)
        return READY, b""

    def _authenticated(self, reader: Body) -> tuple[int, bytes]:
        _, user, password = (reader.value() or b"").split(b"\0")
        if (user.decode(), password.decode()) != (self._user, self._password):
            text = f"Provided username {user.decode()} and/or password are incorrect"
            raise Refused(BAD_CREDENTIALS, text)
        return AUTHENTICATED, struct.pack(">i", -1)

    def _query(self, reader: Body, session: _Session) -> bytes:
        text = reader.long_string()
        statement = parse(text)
        return self._carried_out([text], [self._bound(statement, reader.parameters(), session)], session)

    def _prepare(self, reader: Body, session: _Session) -> bytes:
        text = reader.long_string()
        statement = parse(text)
        types = {**self._types(statement, session), "[ttl]": "int"}
        number = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        self._prepared[number] = text
        columns = [(name, types[name]) for name in statement.bound]
        keys = [number for number, name in enumerate(statement.bound) if name == "task_id"][:1]
        markers = struct.pack(f">III{len(keys)}H", 1, len(columns), len(keys), *keys)
        markers += string("celery") + string(statement.table[1]) + columns_of(columns)
        result = struct.pack(">II", 4, 0)
        if statement.kind == "select":
            result = metadata([(name, types[name]) for name in statement.columns], statement.table)
        return struct.pack(">I", PREPARED) + short_bytes(number) + markers + result

    def _execute(self, reader: Body, session: _Session) -> bytes:
        text = self._text(reader.short_bytes())
        return self._carried_out([text], [self._bound(parse(text), reader.parameters(), session)], session)

    def _batch(self, reader: Body, session: _Session) -> bytes:
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
            raise Refused(UNPREPARED, "Prepared query not found", short_bytes(number))
        return self._prepared[number]

    def _table(self, statement: Statement, session: _Session) -> Table:
        keyspace, name = statement.table[0] or session.keyspace, statement.table[1]
        if keyspace not in self._keyspaces:
            raise Refused(INVALID, f"keyspace {keyspace} does not exist")
        if (keyspace, name) not in self.tables:
            raise Refused(INVALID, f"table {name} does not exist")
        return self.tables[keyspace, name]

    def _types(self, statement: Statement, session: _Session) -> dict[str, str]:
        if statement.table[0] == "system_schema":
            return dict.fromkeys(("keyspace_name", "table_name", "column_name"), "text")
        types = self._table(statement, session).types
        for name in [*statement.columns, *statement.values, *statement.where, *statement.conditions]:
            if name not in types:
                raise Refused(INVALID, f"Undefined column name {name} in table {'.'.join(statement.table)}")
        return types

    def _bound(self, statement: Statement, values: Sequence[bytes | None], session: _Session) -> Statement:
        if not values:
            return statement
        types = {**self._types(statement, session), "[ttl]": "int"}
        bound = [decoded(types[name], value) for name, value in zip(statement.bound, values, strict=True)]

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
            raise Refused(UNAUTHORIZED, f"User {self._user} has no {right} permission on <keyspace celery> or parents")
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and not failure.carries_out:
            raise Refused(failure.code, failure.message, failure.more)
        self.statements.append("; ".join(texts))
        answer = self._changed(statements, session)
        if failure is not None:
            raise Refused(failure.code, failure.message, failure.more)
        return answer

    def _use(self, statement: Statement, session: _Session) -> bytes:
        if statement.table[0] not in self._keyspaces:
            raise Refused(INVALID, f"Keyspace '{statement.table[0]}' does not exist")
        session.keyspace = statement.table[0]
        return struct.pack(">I", SET_KEYSPACE) + string(session.keyspace)

    def _system(self, statement: Statement) -> bytes:
        where = statement.where
        if statement.table in SYSTEM:
            row = SYSTEM[statement.table]
            columns = [(name, row[name][0]) for name in statement.columns or row]
            return rows(columns, [{name: row[name][1] for name, _ in columns}], statement.table)
        columns = [(name, "text") for name in statement.columns or ("key",)]
        found = list[dict[str, Any]]()
        if statement.table == ("system_schema", "keyspaces") and statement.columns:
            found = [{"keyspace_name": each} for each in self._keyspaces if where.get("keyspace_name", each) == each]
        if statement.table == ("system_schema", "columns") and statement.columns:
            table = self.tables.get((where["keyspace_name"], where["table_name"]))
            found = [{"column_name": each} for each in (table.types if table else ())]
        return rows(columns, found, statement.table)

    def _changed(self, statements: Sequence[Statement], session: _Session) -> bytes:
        first = statements[0]
        match first.kind:
            case "create" | "alter":
                return self._define(first, session)
            case "select":
                table = self._table(first, session)
                self._types(first, session)
                found = table.rows(first.where["task_id"])[: first.limit]
                return rows([(name, table.types[name]) for name in first.columns], found, first.table)
        table = self._table(first, session)
        conditions = [each for each in statements if each.conditions]
        applied = all(map(table.holds, conditions))
        if applied:
            for each in statements:
                table.write(each)
        return _decision(table, conditions[0], applied=applied) if conditions else struct.pack(">I", VOID)

    def _define(self, statement: Statement, session: _Session) -> bytes:
        keyspace, name = statement.table[0] or session.keyspace, statement.table[1]
        if keyspace not in self._keyspaces:
            raise Refused(CONFIGURATION, f"Keyspace '{keyspace}' doesn't exist")
        table = self.tables.get((keyspace, name))
        if statement.kind == "create":
            if table is not None and statement.if_not_exists:
                return struct.pack(">I", VOID)
            if table is not None:
                text = f"Object {keyspace}.{name} already exists"
                raise Refused(EXISTS, text, string(keyspace) + string(name))
            self.tables[keyspace, name] = Table(statement.types, statement.static)
        else:
            if table is None:
                raise Refused(INVALID, f"Table '{keyspace}.{name}' doesn't exist")
            for column in statement.columns:
                if column in table.types:
                    raise Refused(INVALID, f"Column with name '{column}' already exists")
            table.types |= statement.types
            table.static |= statement.static
        kind = "CREATED" if statement.kind == "create" else "UPDATED"
        return struct.pack(">I", SCHEMA_CHANGE) + b"".join(map(string, (kind, "TABLE", keyspace, name)))


def _decision(table: Table, statement: Statement, *, applied: bool) -> bytes:
    columns = [("[applied]", "boolean")]
    row: dict[str, Any] = {"[applied]": applied}
    current = table.current(statement)
    if not applied and current:
        columns += [(name, table.types[name]) for name in statement.conditions]
        row |= {name: current.get(name) for name in statement.conditions}
    return rows(columns, [row], statement.table)
