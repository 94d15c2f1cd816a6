"""Local AWS stacks without Docker, each in a process of its own: for tests, the demo and benchmarks.

``ministack`` is the usual one: it starts in a second, runs functions and fires schedules. ``localstack`` is LocalStack
itself with Amazon's DynamoDB Local: slower, and the more faithful SQS. Both listen on loopback only, at one endpoint.
What a stack can't do is said in ``capabilities``, and nowhere else. What is created in a stack (queues, tables,
functions) is its users' business.
"""

from taskq_cloud.testing.aws_stacks.capabilities import LACKING, Capability, lacking, stack_at
from taskq_cloud.testing.aws_stacks.localstack import LocalStack
from taskq_cloud.testing.aws_stacks.ministack import Ministack
from taskq_cloud.testing.aws_stacks.process import REGION, Stack, environment

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
