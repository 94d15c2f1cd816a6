"""The permissions of each role on AWS: the actions that its code calls, on the resources that it calls them on.

A test records the calls of each role and compares them with these statements: no permission is missing, and none is
unused. Resources are ARNs with placeholders: see ``model``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from taskq_cloud.core.messages.late_delivery import PREFIX
from taskq_cloud.deploy.topology.model import (
    Bucket,
    Condition,
    Function,
    Queue,
    Role,
    ScheduleGroup,
    Service,
    Statement,
    Topology,
)

_SQS: Final = "arn:{partition}:sqs:{region}:{account}:"
_SCHEDULES: Final = "arn:{partition}:scheduler:{region}:{account}:schedule/"
_FIND_AND_SEND: Final = ("sqs:GetQueueUrl", "sqs:SendMessage")


def roles(topology: Topology) -> tuple[Role, ...]:
    """Return the roles of a deployment: ``producer``, one for each function and service, and two for the schedules."""
    producer = Role(name=f"{topology.name}-producer", assumed_by=None, statements=_producer(topology))
    return (
        # A policy needs a statement, and callers of an application that is on servers alone need no permission.
        *([producer] if producer.statements else []),
        *(_function(topology, each) for each in topology.functions),
        *(_service(topology, each) for each in topology.services),
        *(_of_schedules(topology, topology.schedule_group) if topology.schedule_group else ()),
    )


def queue_arn(name: str) -> str:
    """Return the ARN of a queue, with placeholders."""
    return f"{_SQS}{name}"


def _of_schedules(topology: Topology, group: ScheduleGroup) -> tuple[Role, ...]:
    """Return the role of ``taskq beat apply``, and the role that EventBridge Scheduler sends messages with."""
    names = [each.name for each in topology.queues]
    if group.dead_letter_queue is not None:
        names.append(group.dead_letter_queue.name)
    actions = ("CreateSchedule", "DeleteSchedule", "GetSchedule", "UpdateSchedule")
    return (
        Role(
            name=f"{topology.name}-applier",
            assumed_by=None,
            statements=_statements(
                _allow("ApplySchedules", (f"scheduler:{each}" for each in actions), [_schedules_of(group)]),
                _list_schedules(),
                _pass_role(group),
                _encrypt_schedules(group),
                _allow(
                    "FindQueues",
                    ("sqs:GetQueueAttributes", "sqs:GetQueueUrl"),
                    (queue_arn(each.name) for each in topology.queues),
                ),
            ),
        ),
        Role(
            name=group.role_name,
            assumed_by="scheduler.amazonaws.com",
            statements=_statements(
                _allow("SendTasks", ("sqs:SendMessage",), map(queue_arn, names), by_platform=True),
                *_keys(topology),
                _allow("ReadSchedules", ("kms:Decrypt",), [group.kms_key_arn or ""], by_platform=True)
                if group.kms_key_arn != topology.kms_key_arn
                else None,
            ),
        ),
    )


def _delays(topology: Topology) -> Iterable[Statement | None]:
    """Allow one-time schedules for late tasks, and the read of a queue's ARN, which is the target of a schedule."""
    group = topology.schedule_group
    if group is None:
        return []
    return [
        _allow("FindTargets", ("sqs:GetQueueAttributes",), (queue_arn(each.name) for each in topology.queues)),
        _allow("DelayTasks", ("scheduler:CreateSchedule",), [_late_schedules_of(group)]),
        _pass_role(group),
        _encrypt_schedules(group),
    ]


def _revocations(topology: Topology) -> Iterable[Statement | None]:
    """Allow a revoked task to be found among the schedules and removed."""
    group = topology.schedule_group
    if group is None:
        return []
    return [_allow("RevokeTasks", ("scheduler:DeleteSchedule",), [_late_schedules_of(group)]), _list_schedules()]


def _schedules_of(group: ScheduleGroup) -> str:
    return f"{_SCHEDULES}{group.name}/*"


def _late_schedules_of(group: ScheduleGroup) -> str:
    """The schedules of late tasks: who may call tasks may neither write nor remove the schedules of periodic tasks."""
    return f"{_SCHEDULES}{group.name}/{PREFIX}*"


def _list_schedules() -> Statement | None:
    # The group's own ARN is not enough: AWS authorises a listing of any group against "schedule/*/*" (Service
    # Authorization Reference: the action has no resource type).
    return _allow("ListSchedules", ("scheduler:ListSchedules",), [f"{_SCHEDULES}*/*"])


def _pass_role(group: ScheduleGroup) -> Statement | None:
    condition = Condition(operator="StringEquals", key="iam:PassedToService", values=("scheduler.amazonaws.com",))
    return _allow("PassRole", ("iam:PassRole",), [group.role_arn], conditions=(condition,))


def _encrypt_schedules(group: ScheduleGroup) -> Statement | None:
    """Allow a key to be named for a schedule (EventBridge Scheduler User Guide, "encryption-rest")."""
    actions = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey")
    return _allow("EncryptSchedules", actions, [group.kms_key_arn or ""], by_platform=True)


def _producer(topology: Topology) -> tuple[Statement, ...]:
    return _statements(
        _allow("SendTasks", _FIND_AND_SEND, (queue_arn(each.name) for each in topology.queues)),
        *_results(topology, worker=False),
        *_buckets(topology),
        *_delays(topology),
        *_revocations(topology),
        *_keys(topology),
    )


def _function(topology: Topology, function: Function) -> Role:
    queue = topology.queue_named(function.queue)
    logs = f"arn:{{partition}}:logs:{{region}}:{{account}}:log-group:/aws/lambda/{function.name}:*"
    statements = _statements(
        # Lambda's pollers make these calls with the function's role (Lambda Developer Guide, "services-sqs-configure").
        _allow(
            "PollQueue",
            ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
            [queue_arn(queue.name)],
            by_platform=True,
        ),
        # The handler itself deletes a message that it has dead-lettered, as the pollers would count it as failed; and
        # messages that are done, before it runs a task that may end it.
        _allow("GiveBack", ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage"), [queue_arn(queue.name)]),
        *_worker(topology, [queue]),
        _allow("WriteLogs", ("logs:CreateLogStream", "logs:PutLogEvents"), [logs], by_platform=True),
    )
    return Role(name=function.role, assumed_by="lambda.amazonaws.com", statements=statements)


def _service(topology: Topology, service: Service) -> Role:
    # A server knows no roles: whoever has its password may use its queues.
    queues = [topology.queue_named(each) for each in service.queues] if topology.queues else []
    actions = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage")
    statements = _statements(
        _allow("ServeQueues", actions, (queue_arn(each.name) for each in queues)), *_worker(topology, queues)
    )
    return Role(name=service.role or service.name, assumed_by="ecs-tasks.amazonaws.com", statements=statements)


def _worker(topology: Topology, queues: Sequence[Queue]) -> Iterable[Statement | None]:
    """Allow the calls of any worker; it may send to all queues, because only its tasks know which ones they use."""
    dead = [each.dead_letter_queue.name for each in queues]
    names = [*(each.name for each in topology.queues), *dead]
    return [
        _allow("SendTasks", _FIND_AND_SEND, map(queue_arn, names)),
        *_results(topology, worker=True),
        *_buckets(topology),
        *_delays(topology),
        *_keys(topology),
    ]


def _results(topology: Topology, *, worker: bool) -> Iterable[Statement | None]:
    arns = [
        f"arn:{{partition}}:dynamodb:{each.region or '{region}'}:{{account}}:table/{each.name}"
        for each in topology.tables
    ]
    actions = ["BatchGetItem", "BatchWriteItem", "GetItem", "PartiQLInsert", "PutItem"]
    if worker:
        actions.append("UpdateItem")
    actions = [f"dynamodb:{action}" for action in actions]
    return [_allow("KeepResults", actions, arns)]


def _buckets(topology: Topology) -> Iterable[Statement | None]:
    on_aws = [each for each in topology.buckets if each.provider == "aws"]
    actions = ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")
    return [
        _allow("KeepObjects", actions, (arn for each in on_aws for arn in _object_arns(each))),
        # Without this permission S3 answers "access denied" for a missing object (Amazon S3 API Reference,
        # "GetObject"). A condition on the prefix can't limit it: a GetObject would not fulfil the condition.
        _allow("ListObjects", ("s3:ListBucket",), (f"arn:{{partition}}:s3:::{each.name}" for each in on_aws)),
    ]


def _object_arns(bucket: Bucket) -> list[str]:
    return [f"arn:{{partition}}:s3:::{bucket.name}/{prefix}*" for prefix in bucket.prefixes]


def _keys(topology: Topology) -> Iterable[Statement | None]:
    return [_allow("UseKey", ("kms:Decrypt", "kms:GenerateDataKey"), [topology.kms_key_arn or ""], by_platform=True)]


def _allow(
    sid: str,
    actions: Iterable[str],
    resources: Iterable[str],
    *,
    by_platform: bool = False,
    conditions: tuple[Condition, ...] = (),
) -> Statement | None:
    found = tuple(sorted({each for each in resources if each}))
    if not found:
        return None
    return Statement(
        sid=sid,
        actions=tuple(sorted(actions)),
        resources=found,
        by="platform" if by_platform else "application",
        conditions=conditions,
    )


def _statements(*statements: Statement | None) -> tuple[Statement, ...]:
    return tuple(each for each in statements if each is not None)
