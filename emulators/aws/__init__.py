"""Local AWS stacks for tests, the demo and benchmarks, each in a process of its own and without Docker.

``ministack`` is the default: it starts in a second, runs functions and fires schedules. ``localstack`` is LocalStack
itself with Amazon's DynamoDB Local; it is slower, and imitates SQS more faithfully. Each listens on loopback only, at
one endpoint. ``capabilities`` lists the abilities that a stack lacks. Users of a stack create its queues, tables and
functions themselves.
"""

from urllib.parse import urlsplit

from emulators.aws.capabilities import LACKING, Capability, lacking
from emulators.aws.localstack import LocalStack
from emulators.aws.ministack import Ministack
from emulators.aws.stack import REGION, Stack, answers, environment

STACKS: dict[str, type[Stack]] = {"ministack": Ministack, "localstack": LocalStack}
"""The stacks by name: the values of ``STACK`` for make, and of ``TASKQ_TEST_STACK`` for pytest."""

__all__ = [
    "LACKING",
    "REGION",
    "STACKS",
    "Capability",
    "LocalStack",
    "Ministack",
    "Stack",
    "environment",
    "lacking",
    "stack_at",
]


def stack_at(endpoint_url: str) -> str | None:
    """Return the name of the stack that answers at an endpoint, or None if no known stack does."""
    parts = urlsplit(endpoint_url)
    if parts.scheme != "http" or parts.hostname is None:
        return None
    found = (name for name, stack in STACKS.items() if answers(parts.hostname, parts.port or 80, stack.health_path))
    return next(found, None)
