"""Holds a task back that its rate limits don't let begin yet: a step of ``execution``, just before the run.

Every limit hands out slots (``rates``): a worker's own from its memory, all others from the result store. A task takes
the next slot of each of its limits. Where it lies ahead, the message is put back to come again then, and keeps the
slot: it doesn't compete again, and no worker waits.

How it is put back, and where its slots are meanwhile, is ``kept_slots``'. A crash between taking a slot and putting the
message back costs the slot, and so does coming back later than it is good for. No slot is used twice.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter
from typing import Final

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.execution.steps.rate_limit_slots import Keeper
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Release, Settlement
from taskq_cloud.core.model.options import QUEUE, WORKER, Policy, TaskOptions
from taskq_cloud.core.model.outcome import Admission
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS, Rate
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import BrokerCapabilities, StoreCapabilities
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, RateKeyError

PUNCTUAL_SECONDS: Final = 0.001
"""A slot that is nearer than this is there. An eta has whole microseconds: put back for less, it might never begin."""

_RESERVATIONS: Final = 3
"""For one start, in a row: a store that takes longer than a slot is good for can't keep a rate."""
_LONGEST_KEY_VALUE_BYTES: Final = 200
"""A longer one is hashed: keys of objects have 1,024 bytes, queue and task names included."""


@dataclass(frozen=True, slots=True)
class _Limit:
    key: str
    rate: Rate
    local: bool = False


def held_back(effects: DeliveryContext) -> Flow[Settlement | None]:
    """Take the task's slots; None where it may begin now.

    Raises:
        RateKeyError: the task's arguments make no key.
        OperationalError: the store can't be used, or the next slot is too far ahead.
    """
    limits = _limits(effects)
    if not limits:
        return None
    if not (yield Admission()):
        effects.log(logging.WARNING, "task.given_back", "given back: the worker stops, or has lost its lease")
        return Release(effects.delivery)
    keeper = Keeper(effects)
    slots = yield from keeper.load()
    for limit in limits:
        slot = yield from _slot(effects, limit, slots.get(limit.key))
        slots[limit.key] = slot
        ahead_seconds = slot - effects.environment.clock()
        if ahead_seconds > PUNCTUAL_SECONDS:
            text = "is over the rate of %r; put back for %.1f s"
            effects.log(logging.INFO, "task.rate_limited", text, limit.key, ahead_seconds)
            longest = max(each.rate.good_for_seconds for each in limits)
            return (yield from keeper.put_back(slots, slot, longest))
    yield from keeper.forget()
    return None


def _slot(effects: DeliveryContext, limit: _Limit, slot: float | None) -> Flow[float]:
    """The slot that is held, while it is good; otherwise the next one."""
    environment, rate = effects.environment, limit.rate
    for _ in range(_RESERVATIONS + 1):
        # What lies too far ahead was never given out: a header can say anything.
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
                f"the rate limit of {limit.key} has its next slot more than 15 days ahead: more waits than the rate "
                "lets begin by then, or the clock of a worker was wrong; remove the key's entry from the store to "
                "begin anew"
            )
    raise OperationalError(
        f"the rate limit of {limit.key} can't be kept: {_RESERVATIONS} slots, good for {rate.good_for_seconds:g} s, "
        "were over before the store had answered"
    )


# -- which limits a task has


def _limits(effects: DeliveryContext) -> list[_Limit]:
    policy, options = effects.environment.policy, effects.options
    if policy.disable_rate_limits:
        return []
    task, queue, limits = effects.message.task, effects.delivery.queue, []
    rate = rate_of(options, policy)
    if rate is not None:
        name = f"queue {queue}" if options.rate_limit_scope == QUEUE else f"task {task}"
        definition = effects.environment.tasks[task]
        value = "" if options.rate_key is None else f": {_key_value(definition, options.rate_key, effects)}"
        limits.append(_Limit(f"{name}{value}", rate, options.rate_limit_scope == WORKER))
    if queue in policy.queue_rate_limits:
        limits.append(_Limit(f"every task of queue {queue}", policy.queue_rate_limits[queue]))
    return limits


def rate_of(options: TaskOptions, policy: Policy) -> Rate | None:
    """A task's own rate, else the default one; None: it has no limit."""
    return policy.default_rate if options.rate_limit is None else options.rate


def check_key(definition: TaskDefinition) -> None:
    """Whether a task's ``rate_key`` can be made of its arguments.

    Raises:
        ImproperlyConfigured: it is no template, or names what is no parameter.
    """
    template, signature = definition.options.rate_key, _signature(definition)
    if template is None:
        return
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ImproperlyConfigured(f"task {definition.name}: rate_key={template!r} is no template: {error}") from None
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    for name in names:
        parameter = name.partition("[")[0]
        if parameter in signature.parameters or (inspect.Parameter.VAR_KEYWORD in kinds and parameter.isidentifier()):
            continue
        raise ImproperlyConfigured(
            f"task {definition.name}: rate_key={template!r} names {parameter!r}, which is no parameter of "
            f"{definition.name}{signature}: write '{{name}}' or '{{name[key]}}'"
        )
    if not names:
        raise ImproperlyConfigured(f"task {definition.name}: rate_key={template!r} names no parameter: '{{tenant}}'")


def _key_value(definition: TaskDefinition, template: str, effects: DeliveryContext) -> str:
    signature = _signature(definition)
    try:
        bound = signature.bind(*effects.message.args, **effects.message.kwargs)
        bound.apply_defaults()
        others = {
            name: value
            for parameter in signature.parameters.values()
            if parameter.kind is inspect.Parameter.VAR_KEYWORD
            for name, value in bound.arguments[parameter.name].items()
        }
        value = template.format(**{**others, **bound.arguments})
        data = value.encode()
    except Exception as error:  # whatever a caller's arguments make of a template
        raise RateKeyError(
            f"task {definition.name}: its arguments make no rate_key {template!r}: {type(error).__name__}: {error}"
        ) from error
    return value if len(data) <= _LONGEST_KEY_VALUE_BYTES else hashlib.sha256(data).hexdigest()


def _signature(definition: TaskDefinition) -> inspect.Signature:
    signature = inspect.signature(definition.function)
    if definition.bind is None:
        return signature
    return signature.replace(parameters=list(signature.parameters.values())[1:])


# -- whether they can be kept


def check(
    tasks: Iterable[TaskDefinition], policy: Policy, store: StoreCapabilities, broker: BrokerCapabilities
) -> None:
    """Whether the store can keep all rate limits: asked before anything is served, as a limit must not lapse silently.

    Raises:
        ImproperlyConfigured: it can't keep one; names whose, and the way out.
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
            "set TASKQ_RESULTS to one that can (dynamodb://, sqlite://), keep the limit per worker "
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
