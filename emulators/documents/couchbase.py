"""A server that speaks Couchbase's protocol for documents: one node, one bucket, and one partition (vBucket).

Sources: Couchbase's "Memcached Binary Protocol" and "SASL" (kv_engine's docs), RFC 5802 and RFC 7677 for SCRAM, and
RFC 0026 of the SDKs for the cluster's configuration. Clients learn the configuration by ``GET_CLUSTER_CONFIG``, log in
by SCRAM, select the bucket, and then get, add, replace and delete documents by CAS.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

_HEADER: Final = struct.Struct(">BBHBBHIIQ")
_REQUEST: Final = 0x80
_RESPONSE: Final = 0x81
_JSON: Final = 1

GET, SET, ADD, REPLACE, DELETE = range(5)
_HELLO: Final = 0x1F
_LIST_MECHANISMS: Final = 0x20
_AUTHENTICATE: Final = 0x21
_CONTINUE: Final = 0x22
_SELECT_BUCKET: Final = 0x89
_CLUSTER_CONFIG: Final = 0xB5
_ERROR_MAP: Final = 0xFE
_BEFORE_LOGIN: Final = frozenset({_HELLO, _LIST_MECHANISMS, _AUTHENTICATE, _CONTINUE, _ERROR_MAP})

OK: Final = 0x00
NOT_FOUND: Final = 0x01
EXISTS: Final = 0x02
TOO_BIG: Final = 0x03
AUTHENTICATION_FAILED: Final = 0x20
_AUTHENTICATION_CONTINUES: Final = 0x21
ACCESS_DENIED: Final = 0x24
_UNKNOWN_COMMAND: Final = 0x81
TEMPORARY_FAILURE: Final = 0x86

_FEATURES: Final = frozenset({0x03, 0x04, 0x07, 0x08, 0x0B, 0x12})
"""TCP_NODELAY, MUTATION_SEQNO, XERROR, SELECT_BUCKET, JSON and COLLECTIONS."""
_ERRORS: Final = b'{"version":1,"revision":1,"errors":{}}'
_LARGEST_BYTES: Final = 20 * 1024 * 1024
_THIRTY_DAYS: Final = 30 * 86_400
_ITERATIONS: Final = 1_000
_SCRAM: Final = {"SCRAM-SHA512": "sha512", "SCRAM-SHA256": "sha256", "SCRAM-SHA1": "sha1"}


@dataclass(frozen=True)
class _Document:
    value: bytes
    flags: int
    cas: int
    expires_at: int


@dataclass(frozen=True)
class _Request:
    opcode: int
    extras: bytes
    key: bytes
    value: bytes
    cas: int


@dataclass(frozen=True)
class _Answer:
    status: int = OK
    value: bytes = b""
    extras: bytes = b""
    cas: int = 0
    datatype: int = 0


@dataclass
class _Login:
    """What one connection has agreed on."""

    collections: bool = False
    in_bucket: bool = False
    done: bool = False
    continues: Callable[[bytes], _Answer] | None = field(default=None, repr=False)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Couchbase:
    """The server, in threads of this process. As a context manager it answers from entry to exit.

    Args:
        user: the only user.
        password: the user's password.
        bucket: the only bucket.
        port: the port; 0: one that is free.

    Attributes:
        documents: key -> the document.
        failures: statuses that the next requests about documents get, instead of being carried out.
        read_only: whether the user may only read.
        lost_answers: how many of the next writes are carried out and not answered; the connection ends instead.
        operations: the operations about documents that were carried out.
    """

    def __init__(self, user: str = "shop", password: str = "s3cret", bucket: str = "celery", port: int = 0) -> None:
        self.documents: dict[str, _Document] = {}
        self.failures: list[int] = []
        self.read_only = False
        self.lost_answers = 0
        self.operations: list[int] = []
        self.user, self.password, self.bucket = user, password, bucket
        self._lock = threading.Lock()
        self._last_cas = time.time_ns()
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

    def store(self, key: str, value: bytes, *, flags: int = 0x2000006, expires_at: int = 0) -> None:
        """Write a document as another client would, by default as JSON."""
        with self._lock:
            self._put(key, value, flags, expires_at)

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        serve, sockets = self._serve, self._sockets

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                sockets.add(self.connection)
                with contextlib.suppress(ConnectionError):  # the client has gone
                    serve(self)
                sockets.discard(self.connection)

        return Handler

    def _serve(self, connection: socketserver.StreamRequestHandler) -> None:
        login = _Login()
        while len(head := connection.rfile.read(_HEADER.size)) == _HEADER.size:
            magic, opcode, key_length, extras_length, _, _, length, opaque, cas = _HEADER.unpack(head)
            body = connection.rfile.read(length)
            if magic != _REQUEST or len(body) < length:
                return
            start = extras_length + key_length
            request = _Request(opcode, body[:extras_length], body[extras_length:start], body[start:], cas)
            with self._lock:
                answer = self._answer(request, login)
            if answer is None:
                return
            content = answer.extras + answer.value
            connection.wfile.write(
                _HEADER.pack(
                    _RESPONSE,
                    opcode,
                    0,
                    len(answer.extras),
                    answer.datatype,
                    answer.status,
                    len(content),
                    opaque,
                    answer.cas,
                )
                + content
            )

    def _answer(self, request: _Request, login: _Login) -> _Answer | None:
        if request.opcode not in _BEFORE_LOGIN and not login.done:
            return _Answer(ACCESS_DENIED)
        if request.opcode in (GET, SET, ADD, REPLACE, DELETE) and login.in_bucket:
            return self._carry_out(request, login)
        operations: dict[int, Callable[[_Request, _Login], _Answer]] = {
            _HELLO: self._agree,
            _LIST_MECHANISMS: lambda _request, _login: _Answer(value=" ".join(_SCRAM).encode()),
            _AUTHENTICATE: self._authenticate,
            _CONTINUE: self._continue,
            _ERROR_MAP: lambda _request, _login: _Answer(value=_ERRORS, datatype=_JSON),
            _SELECT_BUCKET: self._select,
            _CLUSTER_CONFIG: self._configure,
        }
        carry_out = operations.get(request.opcode)
        return _Answer(_UNKNOWN_COMMAND) if carry_out is None else carry_out(request, login)

    @staticmethod
    def _agree(request: _Request, login: _Login) -> _Answer:
        asked = {each for (each,) in struct.iter_unpack(">H", request.value)}
        login.collections = 0x12 in asked
        return _Answer(value=b"".join(struct.pack(">H", each) for each in sorted(asked & _FEATURES)))

    @staticmethod
    def _continue(request: _Request, login: _Login) -> _Answer:
        return _Answer(AUTHENTICATION_FAILED) if login.continues is None else login.continues(request.value)

    def _select(self, request: _Request, login: _Login) -> _Answer:
        login.in_bucket = request.key.decode() == self.bucket
        return _Answer(OK if login.in_bucket else ACCESS_DENIED)

    def _configure(self, request: _Request, login: _Login) -> _Answer:
        config = json.dumps(self._config(in_bucket=login.in_bucket)).encode()
        return _Answer(value=config, datatype=_JSON)

    def _carry_out(self, request: _Request, login: _Login) -> _Answer | None:
        writes = request.opcode != GET
        if self.failures:
            return _Answer(self.failures.pop(0))
        if writes and self.read_only:
            return _Answer(ACCESS_DENIED)
        self.operations.append(request.opcode)
        # The default collection has the number 0, in one byte.
        answer = self._document_answer(request, request.key[1 if login.collections else 0 :].decode())
        if writes and self.lost_answers:
            self.lost_answers -= 1
            return None
        return answer

    def _document_answer(self, request: _Request, key: str) -> _Answer:
        stored = self.documents.get(key)
        if stored is not None and 0 < stored.expires_at <= time.time():
            del self.documents[key]
            stored = None
        refused = self._refused(request, stored)
        if refused is not None:
            return _Answer(refused)
        match request.opcode:
            case 0x00 if stored is not None:
                return _Answer(value=stored.value, extras=struct.pack(">I", stored.flags), cas=stored.cas)
            case 0x04:
                del self.documents[key]
                return self._written(self._next_cas())
        flags, expiry = struct.unpack(">II", request.extras)
        expires_at = expiry + int(time.time()) if 0 < expiry <= _THIRTY_DAYS else expiry
        return self._written(self._put(key, request.value, flags, expires_at))

    @staticmethod
    def _refused(request: _Request, stored: _Document | None) -> int | None:
        """Why an operation on a document can't be carried out."""
        if stored is None and request.opcode in (GET, REPLACE, DELETE):
            return NOT_FOUND
        if stored is not None and (request.opcode == ADD or request.cas not in (0, stored.cas)):
            return EXISTS
        return TOO_BIG if len(request.value) > _LARGEST_BYTES else None

    def _put(self, key: str, value: bytes, flags: int, expires_at: int) -> int:
        cas = self._next_cas()
        self.documents[key] = _Document(value, flags, cas, expires_at)
        return cas

    def _next_cas(self) -> int:
        self._last_cas += 1
        return self._last_cas

    @staticmethod
    def _written(cas: int) -> _Answer:
        return _Answer(cas=cas, extras=struct.pack(">QQ", 1, cas))

    def _authenticate(self, request: _Request, login: _Login) -> _Answer:
        mechanism, first = request.key.decode(), request.value.decode()
        if mechanism not in _SCRAM:
            return _Answer(AUTHENTICATION_FAILED)
        digest, bare = _SCRAM[mechanism], first.partition(",,")[2]
        given = dict(part.split("=", 1) for part in bare.split(","))
        salt, nonce = secrets.token_bytes(16), given["r"] + secrets.token_urlsafe(12)
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={_ITERATIONS}"
        salted = hashlib.pbkdf2_hmac(digest, self.password.encode(), salt, _ITERATIONS)

        def proven(final: bytes) -> _Answer:
            without_proof, _, proof = final.decode().partition(",p=")
            transcript = f"{bare},{challenge},{without_proof}".encode()
            key = hmac.digest(salted, b"Client Key", digest)
            signature = hmac.digest(hashlib.new(digest, key).digest(), transcript, digest)
            expected = bytes(a ^ b for a, b in zip(key, signature, strict=True))
            if given["n"] != self.user or not hmac.compare_digest(base64.b64decode(proof), expected):
                return _Answer(AUTHENTICATION_FAILED)
            login.done = True
            server = hmac.digest(hmac.digest(salted, b"Server Key", digest), transcript, digest)
            return _Answer(value=f"v={base64.b64encode(server).decode()}".encode())

        login.continues = proven
        return _Answer(_AUTHENTICATION_CONTINUES, challenge.encode())

    def _config(self, *, in_bucket: bool) -> Mapping[str, Any]:
        node = {"services": {"kv": self.port, "mgmt": 8091}, "thisNode": True, "hostname": "127.0.0.1"}
        cluster = {"rev": 1, "revEpoch": 1, "nodesExt": [node], "clusterCapabilitiesVer": [1, 0]}
        if not in_bucket:
            return cluster
        capabilities = ["cbhello", "cccp", "collections", "couchapi", "durableWrite", "nodesExt", "touch", "xattr"]
        return {
            **cluster,
            "name": self.bucket,
            "uuid": "0" * 32,
            "nodeLocator": "vbucket",
            "collectionsManifestUid": "0",
            "bucketCapabilities": capabilities,
            "bucketCapabilitiesVer": "",
            "nodes": [{"hostname": "127.0.0.1:8091", "ports": {"direct": self.port}}],
            "vBucketServerMap": {
                "hashAlgorithm": "CRC",
                "numReplicas": 0,
                "serverList": [f"127.0.0.1:{self.port}"],
                "vBucketMap": [[0]],
            },
        }
