"""Makes a call by the lean driver: once, as every client does."""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol

from taskq_cloud.clients.lean.answers import Answer
from taskq_cloud.clients.lean.endpoints import Endpoint, Target, TransportError
from taskq_cloud.clients.lean.requests import OtherWayError, Request, Setting, Wire
from taskq_cloud.clients.lean.signing import Keys
from taskq_cloud.clients.lean.sockets import Sockets
from taskq_cloud.core.flows import Call, CallError, Trouble

NOT_MADE: Final = object()
"""Stands for the answer to a call that is left to the SDK. It has had no effect."""


class CredentialsSource(Protocol):
    """Reads the credentials that the SDK renews."""

    def keys(self, call: Call) -> Keys:
        """Return the credentials.

        Raises:
            CallError: they can't be renewed.
        """
        ...


def wire_of(setting: Setting) -> Wire:
    """Return the protocol of a client's service."""
    if setting.target.service == "s3":
        from taskq_cloud.clients.lean.s3_protocol import S3Protocol  # few processes use both

        return S3Protocol(setting)
    from taskq_cloud.clients.lean.json_protocol import JSONProtocol

    return JSONProtocol(setting)


class LeanClient:
    """Makes the calls that the lean driver knows. Threads may share it.

    Args:
        setting: what the requests share.
        source: reads the credentials; None: the target has them.
    """

    def __init__(self, setting: Setting, source: CredentialsSource | None = None) -> None:
        target: Target = setting.target
        self._keys = target.keys
        self._source = source
        self._wire = wire_of(setting)
        self._connect_seconds = setting.waits.connect
        self._sockets: dict[str, Sockets] = {}

    def call(self, call: Call) -> Any:
        """Make one call, once, and return its answer; ``NOT_MADE``: the SDK has to make it.

        Raises:
            CallError: the call failed.
            Exception: the exception that was raised into the call, such as a time limit.
        """
        keys = self._keys or self._source_keys(call)
        request = self._wire.request(call, keys)
        if request is None:
            return NOT_MADE
        before = sys.exception()
        sockets = self._sockets.get(request.endpoint.host) or self._sockets_of(request.endpoint)
        try:
            answer = sockets.exchange(request.head, request.body, request.seconds, request.look)
        except TransportError as error:
            failure = transport_failure(call, error, before)
            if isinstance(failure, CallError):
                raise failure from error
        else:
            return read_answer(request, answer)
        raise failure

    def close(self) -> None:
        """Close the connections."""
        for each in list(self._sockets.values()):
            each.close()

    def _sockets_of(self, endpoint: Endpoint) -> Sockets:
        """The connections to a host; a bucket of S3 has a host of its own."""
        return self._sockets.setdefault(endpoint.host, Sockets(endpoint, self._connect_seconds))

    def _source_keys(self, call: Call) -> Keys:
        assert self._source is not None
        return self._source.keys(call)


def read_answer(request: Request, answer: Answer) -> Any:
    """Return what an answer says; ``NOT_MADE``: it leads to where the SDK has to make the call."""
    try:
        return request.read(answer)
    except OtherWayError:
        return NOT_MADE


def transport_failure(call: Call, error: TransportError, before: BaseException | None) -> BaseException:
    """Return the exception to raise for a request without an answer.

    Args:
        call: the call.
        error: what has happened.
        before: the exception that was being handled before.
    """
    from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

    return interruption_in(error, before) or CallError(call, error.code, str(error), Trouble.TRANSIENT)
