"""A server that answers as ArangoDB's HTTP interface does to requests about collections and documents.

Source: ArangoDB's documentation 3.11, "HTTP interface for documents", "HTTP interface for collections", "Working with
TTL indexes", and "Error codes and meanings".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from emulators.documents.http_server import Answer, DocumentServer, Request

_KEY = re.compile(r"[a-zA-Z0-9_\-:.@()+,=;$!*'%]{1,254}")


def _failed(status: int, number: int, message: str) -> Answer:
    return Answer(status, {"error": True, "code": status, "errorNum": number, "errorMessage": message})


class ArangoDB(DocumentServer):
    """The server, with one database.

    Args:
        database: the database.
        user: the only user.
        password: the user's password.

    Attributes:
        collections: name -> key -> document.
        indexes: name -> the collection's indexes.
        read_only: whether writes are refused, as for a user without the permission.
    """

    unauthorized: ClassVar[Answer] = _failed(401, 11, "not authorized to execute this request")

    def __init__(self, database: str = "celery", user: str = "", password: str = "") -> None:
        super().__init__(user, password)
        self.collections: dict[str, dict[str, dict[str, Any]]] = {}
        self.indexes: dict[str, list[dict[str, Any]]] = {}
        self.read_only = False
        self._database = database
        self._revision = 0

    def answer(self, request: Request) -> Answer:
        """Carry out a request."""
        _, _, database, _, kind, *rest = [*request.path.split("/"), ""]
        if database != self._database:
            return _failed(404, 1228, "database not found")
        if self.read_only and kind in ("collection", "index"):
            return _failed(403, 11, "forbidden")
        match request.method, kind:
            case "POST", "collection":
                return self._create_collection(request.json["name"])
            case "POST", "index":
                return self._create_index(request.query["collection"], request.json)
            case _, "document":
                return self._documents(request, rest[0])
        return _failed(404, 404, "unknown path")

    def _create_collection(self, name: str) -> Answer:
        if name in self.collections:
            return _failed(409, 1207, "duplicate name")
        self.collections[name] = {}
        return Answer(200, {"error": False, "code": 200, "name": name, "status": 3, "type": 2})

    def _create_index(self, collection: str, index: dict[str, Any]) -> Answer:
        if collection not in self.collections:
            return _failed(404, 1203, f"collection or view not found: {collection}")
        self.indexes.setdefault(collection, []).append(index)
        return Answer(201, {**index, "id": f"{collection}/1", "isNewlyCreated": True, "error": False, "code": 201})

    def _documents(self, request: Request, collection: str) -> Answer:
        stored = self.collections.get(collection)
        if stored is None:
            return _failed(404, 1203, f"collection or view not found: {collection}")
        if self.read_only and request.query.get("onlyget") != "true":
            return _failed(403, 11, "forbidden")
        operations: dict[tuple[str, str], Callable[..., dict[str, Any]]] = {
            ("PUT", "true"): self._read,
            ("PUT", ""): self._replace,
            ("POST", ""): self._insert,
            ("DELETE", ""): self._remove,
        }
        operation = operations[request.method, request.query.get("onlyget", "")]
        status = HTTPStatus.OK if operation == self._read else HTTPStatus.ACCEPTED
        checked = request.query.get("ignoreRevs", "true") == "false"
        return Answer(status, [operation(stored, each, checked) for each in request.json])

    def _read(self, stored: dict[str, dict[str, Any]], key: str, checked: object) -> dict[str, Any]:
        return stored.get(key) or self._error(1202, "document not found", key)

    def _insert(self, stored: dict[str, dict[str, Any]], document: dict[str, Any], checked: object) -> dict[str, Any]:
        key = document["_key"]
        if not _KEY.fullmatch(key):
            return self._error(1221, "illegal document key", key)
        if key in stored:
            return self._error(1210, "unique constraint violated - in index primary over '_key'", key)
        return self._write(stored, document)

    def _replace(self, stored: dict[str, dict[str, Any]], document: dict[str, Any], checked: object) -> dict[str, Any]:
        key = document["_key"]
        if key not in stored:
            return self._error(1202, "document not found", key)
        if checked and stored[key]["_rev"] != document["_rev"]:
            return self._error(1200, "conflict, _rev values do not match", key)
        return self._write(stored, document)

    def _remove(self, stored: dict[str, dict[str, Any]], key: str, checked: object) -> dict[str, Any]:
        removed = stored.pop(key, None)
        return self._error(1202, "document not found", key) if removed is None else {"_key": key}

    def _write(self, stored: dict[str, dict[str, Any]], document: dict[str, Any]) -> dict[str, Any]:
        self._revision += 1
        key, revision = document["_key"], f"_g{self._revision}"
        stored[key] = {**document, "_id": f"c/{key}", "_rev": revision}
        return {"_id": f"c/{key}", "_key": key, "_rev": revision}

    @staticmethod
    def _error(number: int, message: str, key: str) -> dict[str, Any]:
        return {"error": True, "errorNum": number, "errorMessage": message, "_key": key}
