"""Local AWS stacks without Docker, each in a process of its own: for tests, the demo and benchmarks.

``ministack`` is the usual one: it starts in a second, runs functions and fires schedules. ``localstack`` is LocalStack
itself with Amazon's DynamoDB Local: slower, and the more faithful SQS. Both listen on loopback only, at one endpoint.
What a stack can't do is said in ``capabilities``, and nowhere else. What is created in a stack (queues, tables,
functions) is its users' business.
"""

from urllib.parse import urlsplit

from emulators.aws.capabilities import LACKING, Capability, lacking
from emulators.aws.localstack import LocalStack
from emulators.aws.ministack import Ministack
from emulators.aws.stack import REGION, Stack, answers, environment

STACKS: dict[str, type[Stack]] = {"ministack": Ministack, "localstack": LocalStack}
"""By the name that ``TASKQ_AWS_STACK`` gives."""

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
    """Which of the stacks here answers at an endpoint; None: none of them."""
    parts = urlsplit(endpoint_url)
    if parts.scheme != "http" or parts.hostname is None:
        return None
    found = (name for name, stack in STACKS.items() if answers(parts.hostname, parts.port or 80, stack.health_path))
    return next(found, None)
