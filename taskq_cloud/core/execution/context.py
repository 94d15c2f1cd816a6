"""The effects of a run on the world: recording its state (step 7a of ``execution``) and sending what follows (7b).

Each is a flow that can be done twice: a record is written by condition, a successor's id is made from its parent's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, TypeVar

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.sending import Addressed, Transport, address, check_size, send, store_records
from taskq_cloud.core.model.message import Delivery, Message, Refused, Signature
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.model.platform_schedule import ScheduleCapabilities
from taskq_cloud.core.model.rates import LocalSlots
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import Broker, BrokerCapabilities, ResultStore, ScheduleStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, READY_STATES, SUCCESS, Record, version_of
from taskq_cloud.core.workflows import chord_additions, errbacks, successors
from taskq_cloud.core.workflows.group_pages import PAGE_BYTES, Paging
from taskq_cloud.core.workflows.planner import MOST_CHILDREN, Successor
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, StoreNotFound, Unreachable

T = TypeVar("T")
logger = logging.getLogger("taskq_cloud.execution")

PATIENCE_FIRST_DELAY_SECONDS: Final = 0.5
PATIENCE_LONGEST_DELAY_SECONDS: Final = 15
PASSING: Final = (Unreachable, AccessDenied, StoreNotFound, QueueNotFound)
"""What may be mended while a finished run waits: an outage, an expired token, a permission or a table still missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a pipeline works with.

    Args:
        broker: where successors are sent.
        store: where states are recorded.
        tasks: name -> definition.
        policy: what the settings say of every task.
        route: task name -> queue, for successors that name none.
        hostname: the name of the worker.
        clock: seconds since the epoch.
        codec: how the application writes and reads its messages.
        scheduler: what holds messages that are due late; None: they go in hops.
        local_slots: of the rate limits that each worker keeps for itself.
        call_errbacks: calls the errbacks of a task that has failed without a run (its delivery's effects, its message,
            the error); None: they are sent, or called here.
    """

    broker: Broker
    store: ResultStore
    tasks: Mapping[str, TaskDefinition]
    policy: Policy
    route: Callable[[str], str]
    hostname: str
    clock: Callable[[], float]
    codec: Codec = field(default_factory=Codec)
    scheduler: ScheduleStore | None = None
    local_slots: LocalSlots = field(default_factory=LocalSlots)
    call_errbacks: Callable[[DeliveryContext, Message, Exception], Flow[None]] | None = None

    def options_of(self, task: str) -> TaskOptions:
        """The options of a task; the defaults for one that is not registered here."""
        definition = self.tasks.get(task)
        return definition.options if definition else TaskOptions()

    def paging(self) -> Paging | None:
        """How large groups are kept in pages; None where the store keeps no records, or the settings say so."""
        return make_paging(self.store, self.policy.fan_out_members, self.tasks, self.route)


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """What one delivery of one task may do.

    Args:
        environment: what the pipeline works with.
        delivery: the delivery.
        message: its message.
        options: the task's options.
        fence: the number of the claim it runs under, 0 without one.
        started_at: when it began to run, in seconds since the epoch, where its record is to say so.
        added: what it has added to its chord.
        called: ids of the tasks that it has called.
    """

    environment: Environment
    delivery: Delivery
    message: Message
    options: TaskOptions
    fence: int = 0
    started_at: float | None = None
    added: Sequence[Signature] = ()
    called: Sequence[str] = ()

    @property
    def capabilities(self) -> BrokerCapabilities:
        """The broker's, for this delivery: whoever answers a push can't say when it is to come again."""
        of_broker = self.environment.broker.capabilities
        return replace(of_broker, prefers_parking=False) if self.delivery.pushed else of_broker

    @property
    def schedules(self) -> ScheduleCapabilities | None:
        """The scheduler's, where there is one."""
        scheduler = self.environment.scheduler
        return None if scheduler is None else scheduler.capabilities

    @property
    def resends(self) -> bool:
        """Whether what it sends may have been sent by an earlier delivery, whose worker died before it said so."""
        return self.delivery.receive_count > 1

    def log(self, level: int, action: str, text: str, *values: Any) -> None:
        """Log a line about the task, with the ids that a search needs."""
        message, delivery = self.message, self.delivery
        extra = {"action": action, "task": message.task, "task_id": message.id}
        extra |= {"queue": delivery.queue, "message_id": delivery.message_id}
        logger.log(level, "task %s[%s] " + text, message.task, message.id, *values, extra=extra)  # noqa: G003 - a template

    def record(self, state: str, result: str | ErrorInfo, following: Sequence[Successor] = ()) -> Flow[bool]:
        """Record a state, unless results are ignored.

        Args:
            state: the state.
            result: the value as JSON text, or the error.
            following: what follows the task, for the record's children.

        Returns:
            False where the store holds a state that stands.
        """
        if not self.records(state):
            return True
        record = self.make_record(state, result, following)
        (saved,) = yield from self.insist(lambda: self.environment.store.save([record]))
        return saved

    def records(self, state: str) -> bool:
        """Whether a state is recorded."""
        errors_kept = first(
            self.options.store_errors_even_if_ignored, self.environment.policy.store_errors_even_if_ignored
        )
        return not self.ignores_result() or (state == FAILURE and errors_kept)

    def about(self, message: Message) -> DeliveryContext:
        """The same delivery's effects on another task."""
        options = self.environment.options_of(message.task)
        return replace(
            self, message=message, options=options, fence=message.fence, started_at=None, added=(), called=()
        )

    def expires_at(self) -> float | None:
        """When what is recorded now ceases to exist, in seconds since the epoch."""
        expires = self.environment.policy.result_expires
        return None if expires is None else self.environment.clock() + expires

    def load(self) -> Flow[Record | None]:
        """The task's record, or None."""
        found = yield from self.insist(lambda: self.environment.store.load([self.message.id]))
        return found.get(self.message.id)

    def address(self, following: Sequence[Successor]) -> list[Addressed]:
        """Encode what follows, so that what can't be encoded shows before anything is done.

        Raises:
            EncodeError: arguments can't be serialised; names the task.
            PayloadTooLarge: a message is over the broker's limit; names the task.
        """
        environment, now, addressed = self.environment, self.environment.clock(), []
        for each in following:
            options = environment.options_of(each.message.task)
            transport = Transport(
                # A task keeps its place in its group; what follows it on an ordered queue keeps its parent's.
                group=first(each.options.get("MessageGroupId"), self.delivery.group),
                # A message that is parked is the same one still. A retry is a new one: not redriven, if this one was.
                attributes=self.delivery.attributes if each.message is self.message else {},
                serializer=first(each.options.get("serializer"), options.serializer),
                compression=first(each.options.get("compression"), options.compression),
            )
            queue = each.queue or environment.route(each.message.task)
            if each.largest is not None:
                self.address([each.largest])
            records = [page.record(now) for page in each.pages]
            ready = address(environment.codec, each.message, queue, self.capabilities, now, transport, self.schedules)
            addressed.append(replace(ready, records=records))
            check_size(each.message.task, addressed[-1], self.capabilities)
        return addressed

    def send(self, addressed: Sequence[Addressed]) -> Flow[None]:
        """Send what follows.

        Raises:
            OperationalError: one of them was not accepted; sending all again does no harm.
        """
        if any(each.records for each in addressed):
            yield from self.insist(lambda: store_records(self.environment.store, addressed))
        if addressed:
            yield from self.insist(lambda: self._send(addressed))

    def following(self, state: str, value: Any = None, *, recorded: bool = False) -> list[Successor]:
        """What follows the task, now that it has ended.

        Args:
            state: how.
            value: what it has returned, if that is SUCCESS.
            recorded: the store had that state already, so what follows may have been sent.
        """
        now, resent = self.environment.clock(), recorded or self.resends
        if state == SUCCESS:
            following = successors.on_success(self.message, value, now, self.paging(), resent=resent)
            origin = successors.origin_of(self.message, now, self.paging(), resent=resent)
            return [*following, *chord_additions.of(self.message, self.added, origin)]
        if state != FAILURE:
            return []
        here = errbacks.called_here(self.message, self.environment.tasks)
        others = [index for index in range(len(self.message.embed.errbacks or ())) if index not in here]
        return list(successors.on_failure(self.message, now, self.paging(), only=others))

    def paging(self) -> Paging | None:
        """How groups are sent that are too large to be sent by whoever starts them."""
        return self.environment.paging()

    def ignores_result(self) -> bool:
        """Whether this task's results are not stored: the call says so, else the task, else the settings.

        A chord needs those of its members, whatever they say.
        """
        return self.message.embed.chord is None and bool(
            first(self.message.ignore_result, self.options.ignore_result, self.environment.policy.ignore_result)
        )

    def _send(self, addressed: Sequence[Addressed]) -> Flow[None]:
        environment = self.environment
        passed = [each.schedule for each in addressed if each.schedule and each.schedule.at <= environment.clock()]
        if passed:
            raise OperationalError(f"{passed[0].description}: the time of its schedule passed before it was accepted")
        answers = yield from send(environment.codec, environment.broker, addressed, environment.scheduler)
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer.error

    def make_record(self, state: str, result: str | ErrorInfo, following: Sequence[Successor] = ()) -> Record:
        """The record of a state; arguments as ``record``'s."""
        environment, message, now = self.environment, self.message, self.environment.clock()
        run = document.RunDetails(
            worker=environment.hostname,
            queue=self.delivery.queue,
            extended=environment.policy.result_extended,
            started_at=self.started_at,
            added=self.added if state == SUCCESS else (),
        )
        payload = document.encode(
            message,
            state,
            document.encode_error(result) if isinstance(result, ErrorInfo) else result,
            now=now,
            traceback=result.traceback if isinstance(result, ErrorInfo) else None,
            children=self._children(state, following),
            run=run,
        )
        return Record(
            id=message.id,
            state=state,
            version=version_of(state, message.attempt),
            payload=payload,
            expires_at=self.expires_at(),
            fence=self.fence,
        )

    def _children(self, state: str, following: Sequence[Successor]) -> list[str]:
        # What is sent next comes first: what is left of a workflow is found by it, however much a task has called.
        next_ones = [task_id for each in following[:MOST_CHILDREN] for task_id in each.ids]
        return [*next_ones, *(self.called if state in READY_STATES else ())][:MOST_CHILDREN]

    def insist(self, make: Callable[[], Flow[T]]) -> Flow[T]:
        """Repeat an effect while broker or store can't be used: the run is over, and repeating it would cost more."""
        deadline = self.environment.clock() + self.environment.policy.patience_seconds
        for attempt in count(1):
            try:
                return (yield from make())
            except PASSING as error:
                wait = growing_delay(attempt, PATIENCE_FIRST_DELAY_SECONDS, PATIENCE_LONGEST_DELAY_SECONDS)
                if self.environment.clock() + wait > deadline:
                    raise
                self.log(logging.WARNING, "task.effect_repeated", "waits %.1f s: %s", wait, error)
                yield Sleep(wait)
        raise AssertionError("count() has no end")


def make_paging(store: ResultStore, over: int, tasks: Collection[str], route: Callable[[str], str]) -> Paging | None:
    """``Environment.paging``, for callers.

    Args:
        store: where the pages are kept.
        over: groups of more members are; 0: none are.
        tasks: those that are registered here.
        route: task name -> queue.
    """
    if not (over and store.capabilities.keeps_records):
        return None
    page_bytes = min(PAGE_BYTES, store.capabilities.largest_record_bytes)
    return Paging(over=over, page_bytes=page_bytes, knows=lambda task: task in tasks, route=route)


def first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)
