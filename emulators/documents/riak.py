"""A server that answers as Riak KV's HTTP interface does to requests about objects.

Source: Riak KV 2.2's documentation, "HTTP Fetch Object", "HTTP Store Object" and "HTTP Delete Object".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from emulators.documents.http_server import Answer, DocumentServer, Request

_KEPT = ("content-type",)


@dataclass(frozen=True)
class _Object:
    body: bytes
    headers: dict[str, str]
    version: int

    @property
    def etag(self) -> str:
        return f'"{self.version:x}"'

    @property
    def vclock(self) -> str:
        return base64.b64encode(f"vclock-{self.version}".encode()).decode()


class Riak(DocumentServer):
    """The server, whose buckets have no siblings (``allow_mult`` is false).

    Attributes:
        objects: path of the object -> the object.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        super().__init__(user, password)
        self.objects: dict[str, _Object] = {}
        self._versions = 0

    def answer(self, request: Request) -> Answer:
        """Carry out a request."""
        stored = self.objects.get(request.path)
        match request.method:
            case "GET" if stored is not None:
                version = {"ETag": stored.etag, "X-Riak-Vclock": stored.vclock}
                return Answer(200, stored.body, {**stored.headers, **version})
            case "PUT":
                return self._put(request, stored)
            case "DELETE" if stored is not None:
                del self.objects[request.path]
                return Answer(204)
        return Answer(404, b"not found\n")

    def _put(self, request: Request, stored: _Object | None) -> Answer:
        matches, absent = request.headers.get("If-Match"), request.headers.get("If-None-Match")
        if (absent == "*" and stored is not None) or (matches and (stored is None or stored.etag != matches)):
            return Answer(412)
        self._versions += 1
        names = {name for name in request.headers if name.lower() in _KEPT or name.lower().startswith("x-riak-meta-")}
        self.objects[request.path] = _Object(request.body, {n: request.headers[n] for n in names}, self._versions)
        return Answer(204)
