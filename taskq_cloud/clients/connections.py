"""Drivers of flows: they open the client that a call needs, keep it open, and make the call.

A client module (``aws``, ``sqlite``) has ``open_client(service, options) -> Client`` and
``open_async_client(service, options) -> AsyncClient``. It turns a ``Call`` into a call of its SDK, and the SDK's
exceptions into ``CallError``. A client is opened by the first call that needs it, never in a constructor, and is not
carried over a fork. An adapter of another package names its client module in full (``"folder_broker.client"``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from taskq_cloud.clients.base import Client, client_module, with_longest_call
from taskq_cloud.core.flows import (
    Call,
    CallError,
    Compute,
    Flow,
    Gather,
    RenewCredentials,
    Sleep,
    Together,
    Trouble,
    Within,
    retrying,
    run,
)
from taskq_cloud.core.ports import Service

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

PARALLEL_CALLS = 10
"""How many calls of a synchronous caller's ``Gather`` run at once: botocore's default for ``max_pool_connections``."""


class Connections:
    """Runs flows in the calling thread. Threads may share it, and so may both sides of a fork.

    Args:
        services: service name -> how to open its client.
        longest_seconds: how long a call other than a long poll may take; None: as long as the clients allow.
    """

    def __init__(self, services: Mapping[str, Service], longest_seconds: float | None = None) -> None:
        self._services = with_longest_call(services, longest_seconds)
        self._clients: dict[str, Client] = {}
        self._expired: dict[str, Client] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._process_id = os.getpid()

    def run(self, flow: Flow[T], longest_seconds: float | None = None) -> T:
        """Run a flow to its end and return its result. ``core.flows.retrying`` repeats failed calls."""
        return run(retrying(flow, longest_seconds=longest_seconds), self.perform)

    def perform(self, step: Any) -> Any:
        """Do what one step of a flow asks for, and return the step's answer.

        Raises:
            CallError: the step is a call, and it failed.
            TypeError: the step has an unknown type.
        """
        answer: Any = None
        match step:
            case Call():
                return self._call(step)
            case Gather():
                return self._gather(step)
            case Within():
                from taskq_cloud.clients import limited_waits  # few processes wait for results

                return limited_waits.answers_within(step, self._gather, self._call_at_once)
            case Sleep():
                if step.until is None:
                    time.sleep(step.seconds)
                else:
                    answer = step.until.wait(step.seconds)
            case RenewCredentials():
                self._close_expired(step.service)
            case Compute():
                return step.function()
            case Together():
                return self.run(step.operation([step.part]))[0]
            case _:
                raise TypeError(f"a flow yielded {step!r}, which isn't a step of taskq_cloud.core.flows")
        return answer

    def open(self) -> None:
        """Open every client now, which takes longer than its first call; raises the errors of opening one."""
        for service in self._services:
            self._client(service)

    def close(self) -> None:
        """Close every client. The next call opens a new one."""
        with self._lock:
            clients, self._clients = self._clients, {}
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        for client in clients.values():
            client.close()

    def _gather(self, step: Gather) -> list[Any]:
        if len(step.calls) == 1:
            return [self._call_or_error(step.calls[0])]
        from concurrent.futures import ThreadPoolExecutor  # few flows make several calls at once

        self._reset_if_forked()
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="taskq-call")
            threads = self._threads
        return list(threads.map(self._call_or_error, step.calls))

    def _call(self, call: Call) -> Any:
        client = self._client(call.service)
        try:
            return client.call(call)
        except CallError as error:
            if error.trouble is Trouble.CREDENTIALS:
                self._expired[call.service] = client
            raise

    def _call_at_once(self, call: Call) -> tuple[Any] | None:
        """Make a call that has to wait for nothing, not even for its client to open; None: it is not such a call."""
        self._reset_if_forked()
        call_at_once = getattr(self._clients.get(call.service), "call_at_once", None)
        return None if call_at_once is None else call_at_once(call)

    def _call_or_error(self, call: Call) -> Any:
        try:
            return self._call(call)
        except CallError as error:
            return error

    def _client(self, service: str) -> Client:
        self._reset_if_forked()
        client = self._clients.get(service)
        if client is None:
            with self._lock:
                client = self._clients.get(service)
                if client is None:
                    client = self._clients[service] = client_module(self._services[service]).open_client(
                        service, dict(self._services[service].options)
                    )
        return client

    def _close_expired(self, service: str) -> None:
        """Close a client whose credentials have expired, once for all the calls that met the expired credentials."""
        with self._lock:
            client = self._expired.pop(service, None)
            if client is None or self._clients.get(service) is not client:
                return
            del self._clients[service]
        client.close()

    def _reset_if_forked(self) -> None:
        # A forked child shares its parent's sockets. Using them, or closing them in good order, would disturb the
        # parent.
        if os.getpid() != self._process_id:
            self._lock = threading.Lock()
            self._clients = {}
            self._expired = {}
            self._threads = None
            self._process_id = os.getpid()
