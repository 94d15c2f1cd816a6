"""The seam between the demo and where it runs: what an infrastructure is given, and what it hands over."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from taskq_cloud.testing.aws_stacks import STACKS, Stack
from taskq_cloud.testing.call_counter import CallCounter

EXAMPLES = Path(__file__).parents[2]
PREFIX = "shop-"
QUEUES = ("orders", "images")
RESULTS = "shop-results"

Place = TypeVar("Place")


class Unavailable(RuntimeError):
    """What was asked for is not there, or not installed; says the way out."""


class Machine:
    """What the infrastructure of one run shares: its folder, its local AWS stack, and how it is ended.

    Args:
        folder: where logs and files go.
        ending: ends what was started, in reverse.
        say: tells the user.
        stack: which local AWS stack it has, by its name in ``STACKS``.
    """

    def __init__(self, folder: Path, ending: ExitStack, say: Callable[[str], None], stack: str) -> None:
        self.folder = folder
        self.ending = ending
        self.say = say
        self._stack = STACKS[stack]
        self._aws: Stack | None = None

    def aws_stack(self) -> Stack:
        """The local AWS stack, started for whoever asks first. This process and its children find it.

        Raises:
            Unavailable: it is not installed.
        """
        if self._aws is None:
            reason = self._stack.missing()
            if reason:
                raise Unavailable(reason)
            stack = self._aws = self.ending.enter_context(self._stack())
            self.ending.callback(self._keep_log, stack)
            os.environ.update(stack.environment())
            self.say(f"The local AWS stack, {stack.name}, answers at {stack.endpoint_url}")
        return self._aws

    def count_calls(self, endpoint_url: str) -> CallCounter:
        """A call counter in front of an endpoint."""
        return self.ending.enter_context(CallCounter(endpoint_url))

    def _keep_log(self, stack: Stack) -> None:
        if stack.log_path is not None and stack.log_path.exists():
            shutil.copyfile(stack.log_path, self.folder / "stack.log")


@dataclass(frozen=True)
class Meter:
    """Counts the calls that the shop makes to one service, where they can be counted.

    Args:
        service: its name.
        counter: what its calls go through; None where they go past one.
        note: what is not counted, and why.
    """

    service: str
    counter: CallCounter | None = None
    note: str = ""

    def reset(self) -> None:
        """Count from zero again."""
        if self.counter is not None:
            self.counter.reset()

    def calls(self) -> Mapping[str, int] | None:
        """Calls by operation; by HTTP method where the service has only paths; None where they are not counted."""
        if self.counter is None:
            return None
        calls: Counter[str] = Counter()
        for operation, count in self.counter.counts().items():
            calls[operation.partition(" ")[0]] += count
        return calls


@dataclass(frozen=True)
class BrokerPlace:
    """A broker with the shop's queues and their dead-letter queues.

    Args:
        url: ``TASKQ_BROKER``.
        environment: what whoever sends and receives needs beside it; their calls are counted.
        uncounted: the ``broker_transport_options`` with which the demo itself looks past the counter.
        prefix: what a queue's name begins with there.
        workers: the container workers to start: name -> the queue it serves.
        start_function: starts what serves the other queue, given its environment; None where workers serve both.
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
class StorePlace:
    """A result store with room for the shop's results.

    Args:
        url: ``TASKQ_RESULTS``.
        environment: what whoever runs tasks needs beside it; their calls are counted.
        uncounted: the same for the demo itself, which looks past the counter. (Sending writes no results.)
        things: what it holds: ``"items in the DynamoDB table shop-results"``.
        key_of: a task's id -> the key its result is kept under.
        meter: counts the calls.
    """

    url: str
    environment: Mapping[str, str]
    uncounted: Mapping[str, str]
    things: str
    key_of: Callable[[str], str]
    meter: Meter


@dataclass(frozen=True)
class Infrastructure(Generic[Place]):
    """A broker or a store that the demo can set up.

    Args:
        start: starts its emulator, and makes there what Terraform would make in an account.
        missing: why it can't be here, with the way out; None where it can, or where ``start`` will say.
    """

    start: Callable[[Machine], Place]
    missing: Callable[[], str | None] = lambda: None
