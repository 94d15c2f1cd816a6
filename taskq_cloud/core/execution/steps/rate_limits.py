"""Rate limits: holding back a task that its limits don't allow to begin yet (step 5 of ``pipeline``).

Every limit hands out slots (``model.rates``): a worker's own limit from the worker's memory, all others from the result
store. A task takes the next slot of each of its limits. If a slot lies ahead, the message is put back to come again at
that time. It keeps the slot, so it does not compete for one again, and no worker waits.

``rate_limit_slots`` defines how a message is put back and where its slots are until then. A crash between taking a slot
and putting the message back costs the slot, and so does a message that comes back after the slot was good. No slot is
used twice.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Iterable
from string import Formatter
from typing import Final

from taskq_cloud.core.execution.context import DeliveryContext, PipelineFlow
from taskq_cloud.core.execution.steps import receives
from taskq_cloud.core.execution.steps.rate_limit_slots import SlotKeeper
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.model.capabilities import BrokerCapabilities, StoreCapabilities
from taskq_cloud.core.model.message import Settlement
from taskq_cloud.core.model.options import QUEUE, WORKER, Policy, TaskOptions
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS, Rate
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, RateKeyError

PUNCTUAL_SECONDS: Final = 0.001
"""A slot that is nearer than this counts as present: an eta has whole microseconds, so the task might never begin."""

_RESERVATIONS: Final = 3
"""Slots taken in a row for one start. A store that answers more slowly than a slot is good can't keep a rate."""
_LONGEST_KEY_VALUE_BYTES: Final = 200
"""A longer value is hashed: an object's key has at most 1,024 bytes, queue and task names included."""


@dataclass(frozen=True, slots=True)
class _Limit:
    key: str
    rate: Rate
    local: bool = False


def held_back(context: DeliveryContext) -> PipelineFlow[Settlement | None]:
    """Take the task's slots, once it has been admitted; None: the task may begin now.

    Raises:
        RateKeyError: the task's arguments make no key.
        WorkerLostError: the message was received too often, waiting for slots not counted.
        OperationalError: the store can't be used, or the next slot is too far ahead.
    """
    limits = _limits(context)
    if not limits:
        return None
    keeper = SlotKeeper(context)
    slots = yield from keeper.load()
    environment, delivery = context.environment, replace(context.delivery, receive_count=keeper.failures + 1)
    if receives.exceed(environment, delivery):
        raise receives.error(environment, delivery.receive_count)
    for limit in limits:
        slot = yield from _slot(context, limit, slots.get(limit.key))
        slots[limit.key] = slot
        ahead_seconds = slot - context.now
        if ahead_seconds > PUNCTUAL_SECONDS:
            text = "is over the rate of %r; put back for %.1f s"
            context.log(logging.INFO, "task.rate_limited", text, limit.key, ahead_seconds)
            longest = max(each.rate.good_for_seconds for each in limits)
            return (yield from keeper.put_back(slots, slot, longest))
    yield from keeper.forget()
    return None


def _slot(context: DeliveryContext, limit: _Limit, slot: float | None) -> Flow[float]:
    """The slot that the message has, while it is good; otherwise the next slot of the limit."""
    environment, rate = context.environment, limit.rate
    for _ in range(_RESERVATIONS + 1):
        # A slot too far ahead was never given out: a header can say anything.
        if slot is not None and -FARTHEST_SLOT_SECONDS <= environment.clock() - slot <= rate.good_for_seconds:
            return slot
        if limit.local:
            slot = environment.local_slots.take(
                limit.key, rate.interval_seconds, rate.credit_seconds, environment.clock()
            )
        else:
            slot = yield from environment.store.reserve(limit.key, rate.interval_seconds, rate.credit_seconds)
        if slot is None:
            raise OperationalError(
                f"the next slot of the rate limit of {limit.key} is more than 15 days ahead: more tasks wait than may "
                "begin by then, or the clock of a worker was wrong; to begin again, remove the key's entry in the store"
            )
    raise OperationalError(
        f"the rate limit of {limit.key} can't be kept: {_RESERVATIONS} slots, good for {rate.good_for_seconds:g} s, "
        "were over before the store had answered: use a faster result store, or a larger rate_limit_burst"
    )


# -- the limits of a task


def _limits(context: DeliveryContext) -> list[_Limit]:
    policy, options = context.environment.policy, context.options
    if policy.disable_rate_limits:
        return []
    queue = context.environment.outbox.routed_queue(context.delivery.queue)
    task, limits = context.message.task, list[_Limit]()
    rate = rate_of(options, policy)
    if rate is not None:
        name = f"queue {queue}" if options.rate_limit_scope == QUEUE else f"task {task}"
        definition = context.environment.tasks[task]
        value = "" if options.rate_key is None else f": {_key_value(definition, options.rate_key, context)}"
        limits.append(_Limit(f"{name}{value}", rate, options.rate_limit_scope == WORKER))
    if queue in policy.queue_rate_limits:
        limits.append(_Limit(f"every task of queue {queue}", policy.queue_rate_limits[queue]))
    return limits


def rate_of(options: TaskOptions, policy: Policy) -> Rate | None:
    """A task's own rate, else the default rate; None: the task has no limit."""
    return policy.default_rate if options.rate_limit is None else options.rate


def check_key(definition: TaskDefinition) -> None:
    """Check that a task's ``rate_key`` can be made of its arguments.

    Raises:
        ImproperlyConfigured: the key is not a template, or names something else than a parameter.
    """
    template, signature = definition.options.rate_key, definition.signature
    if template is None:
        return
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"task {definition.name}: rate_key={template!r} is not a template: {error}"
        ) from None
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    for name in names:
        parameter = name.partition("[")[0]
        if parameter in signature.parameters or (inspect.Parameter.VAR_KEYWORD in kinds and parameter.isidentifier()):
            continue
        raise ImproperlyConfigured(
            f"task {definition.name}: rate_key={template!r} names {parameter!r}, which is not a parameter of "
            f"{definition.name}{signature}: write '{{name}}' or '{{name[key]}}'"
        )
    if not names:
        raise ImproperlyConfigured(
            f"task {definition.name}: rate_key={template!r} doesn't name a parameter: write for example '{{tenant}}'"
        )


def _key_value(definition: TaskDefinition, template: str, context: DeliveryContext) -> str:
    signature = definition.signature
    try:
        bound = signature.bind(*context.message.args, **context.message.kwargs)
        bound.apply_defaults()
        others = {
            name: value
            for parameter in signature.parameters.values()
            if parameter.kind is inspect.Parameter.VAR_KEYWORD
            for name, value in bound.arguments[parameter.name].items()
        }
        value = template.format(**{**others, **bound.arguments})
        data = value.encode()
    except Exception as error:  # a caller's arguments can make a template raise anything
        raise RateKeyError(
            f"task {definition.name}: rate_key {template!r} can't be made of its arguments: "
            f"{type(error).__name__}: {error}"
        ) from error
    return value if len(data) <= _LONGEST_KEY_VALUE_BYTES else hashlib.sha256(data).hexdigest()


# -- checking that the limits can be kept


def check(
    tasks: Iterable[TaskDefinition], policy: Policy, store: StoreCapabilities, broker: BrokerCapabilities
) -> None:
    """Check that the store can keep all rate limits, before anything is served: a limit must not lapse in silence.

    Raises:
        ImproperlyConfigured: the store can't keep a limit; the error names the task or queue, and the way out.
    """
    if policy.disable_rate_limits:
        return
    rates = {f"queue {queue!r}": rate for queue, rate in policy.queue_rate_limits.items()}
    for task in tasks:
        rate = rate_of(task.options, policy)
        if rate is None and task.options.rate_key is not None and task.options.rate_limit is None:
            raise ImproperlyConfigured(f"task {task.name}: rate_key without a rate: give it a rate_limit")
        if rate is not None and task.options.rate_limit_scope != WORKER:
            rates[f"task {task.name!r}"] = rate
    for whose, rate in rates.items():
        most = store.reservations_per_second
        ways_out = (
            "set TASKQ_RESULTS to a store that can (dynamodb://, sqlite://), keep the limit per worker "
            "(rate_limit_scope='worker'), or set worker_disable_rate_limits"
        )
        if not most:
            raise ImproperlyConfigured(f"the rate limit of {whose} needs a result store that keeps rates: {ways_out}")
        if broker.shared_between_processes and not store.shared_between_processes:
            raise ImproperlyConfigured(
                f"the rate limit of {whose} needs a result store that all workers share: {ways_out}"
            )
        if rate.per_second > most:
            raise ImproperlyConfigured(
                f"the rate limit of {whose} is {rate.per_second:g} a second, and the result store hands out at most "
                f"{most:g} slots of one key a second: {ways_out}"
            )
