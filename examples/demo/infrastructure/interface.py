"""The interface between the demo and its infrastructure: what an infrastructure gets, and what it returns."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from emulators.aws import STACKS, Stack
from emulators.call_counter import CallCounter

EXAMPLES = Path(__file__).parents[2]
PREFIX = "shop-"
QUEUES = ("orders", "images")
RESULTS = "shop-results"

Running = TypeVar("Running")


class Unavailable(RuntimeError):
    """A broker or a store is unknown to the demo or not installed; the message says what to do."""


class Machine:
    """The parts of a run that its broker and its store share: the folder, the local AWS stack and the clean-up.

    Args:
        folder: the folder of logs and files.
        cleanup: stops everything that was started, in reverse order.
        say: prints a line for the user.
        stack: the name of the local AWS stack in ``STACKS``.

    Attributes:
        servers: the URLs of the servers that were started, by their names in ``emulators.servers.SERVERS``.
    """

    def __init__(self, folder: Path, cleanup: ExitStack, say: Callable[[str], None], stack: str) -> None:
        self.folder = folder
        self.cleanup = cleanup
        self.say = say
        self.servers: dict[str, str] = {}
        self._stack = STACKS[stack]
        self._aws: Stack | None = None

    def aws_stack(self) -> Stack:
        """Return the local AWS stack; the first call starts it.

        The environment of this process, which its children inherit, then leads to the stack.

        Raises:
            Unavailable: the stack is not installed.
        """
        if self._aws is None:
            reason = self._stack.missing()
            if reason:
                raise Unavailable(reason)
            stack = self._aws = self.cleanup.enter_context(self._stack())
            self.cleanup.callback(self._keep_log, stack)
            os.environ.update(stack.environment())
            self.say(f"{stack.name}, a local AWS stack, answers at {stack.endpoint_url}")
        return self._aws

    def count_calls(self, endpoint_url: str, *, as_host: bool = False) -> CallCounter:
        """Start a proxy that counts the calls to an endpoint, which may be named in them as their host."""
        return self.cleanup.enter_context(CallCounter(endpoint_url, as_host=as_host))

    def _keep_log(self, stack: Stack) -> None:
        if stack.log_path is not None and stack.log_path.exists():
            shutil.copyfile(stack.log_path, self.folder / "stack.log")


@dataclass(frozen=True)
class Meter:
    """Counts the shop's calls to one service.

    Args:
        service: the service's name.
        counter: the proxy that counts the calls; None if no calls can be counted.
        note: a sentence about calls that are not counted; empty if all are.
    """

    service: str
    counter: CallCounter | None = None
    note: str = ""

    def reset(self) -> None:
        """Set all counts to zero."""
        if self.counter is not None:
            self.counter.reset()

    def calls(self) -> Mapping[str, int] | None:
        """Return operation -> number of calls; None if calls are not counted.

        For services without named operations, such as object stores, the operation is the HTTP method.
        """
        if self.counter is None:
            return None
        calls: Counter[str] = Counter()
        for operation, count in self.counter.counts().items():
            calls[operation.partition(" ")[0]] += count
        return calls


@dataclass(frozen=True)
class RunningBroker:
    """A broker that has the shop's queues and their dead-letter queues.

    Args:
        url: the value of ``TASKQ_BROKER``.
        environment: further variables of processes that send and receive; their calls are counted.
        uncounted: the ``broker_transport_options`` of the demo's own calls, which are not counted.
        prefix: the prefix of queue names at the broker.
        workers: the container workers to start: worker name -> queue.
        start_function: starts the function that serves the other queue, given the function's environment; None if
            container workers serve both queues.
        meter: counts the calls.
    """

    url: str
    environment: Mapping[str, str]
    uncounted: Mapping[str, str]
    prefix: str
    workers: Mapping[str, str]
    start_function: Callable[[Mapping[str, str]], None] | None
    meter: Meter


@dataclass(frozen=True)
class RunningStore:
    """A result store for the shop's results.

    Args:
        url: the value of ``TASKQ_RESULTS``.
        environment: further variables of processes that run tasks; their calls are counted.
        uncounted: further variables of the demo itself, whose calls are not counted. (Sending writes no results.)
        contents: a description of the stored results, such as ``"items in the DynamoDB table shop-results"``.
        key_of: returns the key of a task's result, given the task's id.
        meter: counts the calls.
    """

    url: str
    environment: Mapping[str, str]
    uncounted: Mapping[str, str]
    contents: str
    key_of: Callable[[str], str]
    meter: Meter


@dataclass(frozen=True)
class Infrastructure(Generic[Running]):
    """A broker or a result store that the demo can start.

    Args:
        start: starts the emulator, and creates the resources that Terraform would create in an account.
        missing: returns the reason why it can't be started here, with what to do about it; None if there is none, or
            if ``start`` reports it.
    """

    start: Callable[[Machine], Running]
    missing: Callable[[], str | None] = lambda: None
