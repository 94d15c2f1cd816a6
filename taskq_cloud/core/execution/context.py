"""The context of one delivery: its task, what the pipeline works with, and the records and messages it may make.

Nothing is decided here. ``DeliveryContext`` makes records and messages for the task, and holds the ports that record
and send them; ``steps`` decide, and ``consequences`` carries out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from taskq_cloud.core.execution.look_cost import LookCost
from taskq_cloud.core.execution.patient_ports import Patience, PatientOutbox, PatientStore
from taskq_cloud.core.flows import Flow, Step
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.messages.replying import handed_on
from taskq_cloud.core.messages.sending import (
    LARGEST_SENT_BYTES,
    Addressed,
    Outbox,
    Transport,
    store_records,
    total_bytes,
)
from taskq_cloud.core.model.capabilities import BrokerCapabilities
from taskq_cloud.core.model.message import SCHEDULE, Delivery, Message, Signature
from taskq_cloud.core.model.options import Policy, TaskOptions, first_given, ignores_result
from taskq_cloud.core.model.outcome import Admission, ErrorInfo, Invocation
from taskq_cloud.core.model.rates import LocalSlots
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, MOST_CHILDREN, READY_STATES, SUCCESS, Record, version_of
from taskq_cloud.core.workflows import chord_life, successors
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.errors import EncodeError, ImproperlyConfigured, PayloadTooLarge

if TYPE_CHECKING:  # few groups are kept in pages, and few applications have hooks
    from taskq_cloud.core.model.hooks import HookTable
    from taskq_cloud.core.workflows.group_pages import Paging

logger: Final = logging.getLogger("taskq_cloud.execution")

T = TypeVar("T")

PipelineFlow: TypeAlias = Generator[Step | Invocation | Admission, Any, T]
"""A flow of the pipeline: besides the steps of every flow, it yields runs of tasks, and waits for admission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The parts of an application that a pipeline works with, for every delivery.

    Args:
        outbox: sends messages, and encodes them.
        store: the result store.
        tasks: name -> definition.
        policy: the settings that hold for every task.
        route: task name -> queue, for messages that name none.
        hostname: the name of the worker.
        clock: seconds since the epoch.
        local_slots: the slots of the rate limits that each worker keeps for itself.
        look_cost: how long a look into the store takes.
        call_errbacks: calls the errbacks of a task that failed without a run; None: ``consequences`` does.
        hooks: the hooks that are told what becomes of messages.
    """

    outbox: Outbox
    store: ResultStore
    tasks: Mapping[str, TaskDefinition]
    policy: Policy
    route: Callable[[str], str]
    hostname: str
    clock: Callable[[], float]
    local_slots: LocalSlots = field(default_factory=LocalSlots)
    look_cost: LookCost = field(default_factory=LookCost)
    call_errbacks: Callable[[Message, Exception], None] | None = None
    hooks: HookTable = field(default_factory=dict, compare=False)

    def options_of(self, task: str) -> TaskOptions:
        """The options of a task; the defaults for a task that is not registered here."""
        definition = self.tasks.get(task)
        return definition.options if definition else TaskOptions()

    def paging(self) -> Paging | None:
        """The rules for keeping large groups in pages; None: no groups are kept in pages."""
        from taskq_cloud.core.workflows.group_pages import Paging  # not at a function's cold start

        return Paging.of(self.store, self.policy.fan_out_members, self.tasks, self.route)


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """One delivery of one task.

    Args:
        environment: the parts of the application that the pipeline works with.
        delivery: the delivery.
        message: the task's message.
        options: the task's options.
        fence: the number of the lock under which the task runs, 0 without one.
        started_at: when the task began to run, in seconds since the epoch, if its record is to say so.
        runtime_seconds: how long the task has run; None: it has not run.
        added: the signatures that the task has added to its chord.
        called: the ids of the tasks that the task has called.
        offload: whether flows yield ``Compute`` for what would keep an event loop busy.
        acknowledged: whether the message was acknowledged before the run.
    """

    environment: Environment
    delivery: Delivery
    message: Message
    options: TaskOptions
    fence: int = 0
    started_at: float | None = None
    runtime_seconds: float | None = None
    added: Sequence[Signature] = ()
    called: Sequence[str] = ()
    offload: bool = False
    acknowledged: bool = False

    def about(self, message: Message) -> DeliveryContext:
        """The context of another task that this delivery affects, such as the body of its chord."""
        options = self.environment.options_of(message.task)
        message = handed_on(message, self.message)
        return replace(
            self, message=message, options=options, fence=message.fence, started_at=None, added=(), called=()
        )

    # -- looking

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self.environment.clock()

    @property
    def outbox(self) -> Outbox:
        """The outbox for this delivery: the caller of a push endpoint can't be told when to push again."""
        outbox = self.environment.outbox
        return replace(outbox, prefers_parking=False) if self.delivery.pushed else outbox

    @property
    def capabilities(self) -> BrokerCapabilities:
        """The broker's capabilities for this delivery."""
        return self.outbox.capabilities

    @property
    def patience(self) -> Patience:
        """The patience with which a failed effect of a finished run is repeated."""
        return Patience(self.environment.policy.patience_seconds, self.environment.clock, self.log)

    @property
    def store(self) -> PatientStore:
        """The result store for the effects of a finished run, which waits while the store can't be used."""
        return PatientStore(self.environment.store, self.patience, self.offload)

    @property
    def resends(self) -> bool:
        """Whether an earlier delivery, whose worker died, may have sent what this one sends."""
        return self.delivery.redelivered

    @property
    def ends_here(self) -> bool:
        """Whether nobody is told of the task's end, and no lock and no schedule hangs on it."""
        message, embed = self.message, self.message.embed
        awaited = embed.chord is not None or embed.chain or embed.errbacks
        return not (awaited or self.options.once or SCHEDULE in message.headers)

    @property
    def expires_at(self) -> float | None:
        """When a record made now expires, in seconds since the epoch; None: never."""
        expires, chord = self.environment.policy.result_expires, self.message.embed.chord
        if expires is None:
            return None
        return expires + (self.now if chord is None else chord_life.kept_from(chord, self.now))

    @property
    def ignores_result(self) -> bool:
        """Whether the task's result is not stored."""
        return ignores_result(
            self.message.ignore_result,
            self.options,
            self.environment.policy.ignore_result,
            in_chord=self.message.embed.chord is not None,
        )

    def keeps(self, state: str) -> bool:
        """Whether a state of the task is recorded at all."""
        if not self.environment.store.capabilities.keeps_records:
            return False
        if not self.ignores_result:
            return True
        policy = self.environment.policy
        errors_kept = first_given(self.options.store_errors_even_if_ignored, policy.store_errors_even_if_ignored)
        return state == FAILURE and bool(errors_kept)

    def load(self) -> Flow[Record | None]:
        """Read the task's record; None where there is none."""
        found = yield from self.store.load([self.message.id])
        return found.get(self.message.id)

    def log(self, level: int, action: str, text: str, *values: object) -> None:
        """Log a line about the task, with the ids that a search needs."""
        if not logger.isEnabledFor(level):
            return
        message, delivery = self.message, self.delivery
        extra = {"action": action, "task": message.task, "task_id": message.id}
        extra |= {"queue": delivery.queue, "message_id": delivery.message_id}
        logger.log(level, "task %s[%s] " + text, message.task, message.id, *values, extra=extra)  # noqa: G003 - a template

    # -- making records and messages

    def make_record(self, state: str, result: str | ErrorInfo, following: Sequence[Successor] = ()) -> Record:
        """Make the record of a state.

        Args:
            state: the state.
            result: the value as JSON text, or the error.
            following: the messages that follow the task, which are the record's children.
        """
        environment, message = self.environment, self.message
        payload = document.encode(
            message,
            state,
            result,
            now=self.now,
            children=self._children(state, following),
            run=document.RunDetails(
                worker=environment.hostname,
                queue=environment.outbox.routed_queue(self.delivery.queue),
                extended=environment.policy.result_extended,
                started_at=self.started_at,
                added=self.added if state == SUCCESS else (),
                added_signature=self._seal_of_additions() if self.added and state == SUCCESS else None,
            ),
        )
        return Record(
            id=message.id,
            state=state,
            version=version_of(state, message.attempt),
            payload=payload,
            expires_at=self.expires_at,
            fence=self.fence,
            reply_to=message.reply_to or "",
        )

    def following(self, state: str, value: Any = None, *, recorded: bool = False) -> list[Successor]:
        """The messages that follow the task, now that it has ended.

        Args:
            state: the state it has ended in.
            value: the value it has returned, if the state is SUCCESS.
            recorded: the store had the state before, so the messages may have been sent before.
        """
        message = self.message
        if state == SUCCESS and not (message.embed.callbacks or message.embed.chain or self.added):
            return []
        paging = self.environment.paging()
        resent = recorded or self.resends
        if state == SUCCESS:
            following = list(successors.on_success(message, value, self.now, paging, resent=resent))
            if self.added:
                from taskq_cloud.core.workflows import chord_additions  # few tasks add to their chord

                origin = successors.origin_of(message, self.now, paging, resent=resent)
                following += chord_additions.messages(message, self.added, origin)
            return following
        if state != FAILURE or not message.embed.errbacks:
            return []
        from taskq_cloud.core.workflows import errbacks  # few tasks have any

        called = errbacks.called_errbacks(message, self.environment.tasks)
        sent = [index for index in range(len(message.embed.errbacks)) if index not in called]
        return list(successors.on_failure(message, self.now, paging, only=sent))

    def address(self, following: Sequence[Successor]) -> list[Addressed]:
        """Encode messages, so that a message that can't be encoded is noticed before anything is done.

        Raises:
            EncodeError: arguments can't be serialised; the error names the task.
            PayloadTooLarge: a message is over the broker's limit, or all of them together are over
                ``LARGEST_SENT_BYTES``; the error names the task.
        """
        if len(following) == 1:
            return [self._addressed(following[0])]
        addressed: list[Addressed] = []
        size = 0
        for each in following:
            addressed.append(self._addressed(each))
            size += total_bytes(addressed[-1])
            if size > LARGEST_SENT_BYTES:
                raise PayloadTooLarge(
                    f"the {len(following)} messages that follow task {self.message.task} have more than "
                    f"{LARGEST_SENT_BYTES} bytes, as each member of a group carries the value and the chord's body: "
                    "store large values elsewhere and send their location, or start fewer tasks at once"
                )
        return addressed

    def send(self, addressed: Sequence[Addressed]) -> Flow[None]:
        """Save the records that messages need, and then send the messages.

        Raises:
            OperationalError: one of them was not accepted; sending all of them again does no harm.
        """
        if any(each.records for each in addressed):
            yield from self.patience.repeat(lambda: store_records(self.environment.store, addressed))
        if addressed:
            yield from PatientOutbox(self.outbox, self.patience).send(addressed)

    def _addressed(self, following: Successor) -> Addressed:
        environment, message, now = self.environment, following.message, self.now
        outbox, again = self.outbox, message is self.message
        message = handed_on(message, self.message)
        if following.largest is not None:
            self.address([following.largest])
        own = Transport.of(following.options, environment.options_of(message.task))
        transport = Transport(
            # A task keeps its place in its group. A task that follows it on an ordered queue takes its parent's group.
            group=first_given(own.group, self.delivery.group),
            deduplication=own.deduplication,
            # The delivery's attributes stay on its own message when that is sent again. A retry is a new message, which
            # must not count as redriven from the dead-letter queue.
            attributes=self.delivery.attributes if again else own.attributes,
            trace_header=own.trace_header,
            serializer=own.serializer,
            compression=own.compression,
        )
        queue = following.queue or environment.route(message.task)
        try:
            addressed = outbox.address(message, queue, now, transport, again=again)
        except ImproperlyConfigured as error:
            if transport.serializer is None and transport.compression is None:
                raise
            # The options of the message itself are wrong, and stay so.
            raise EncodeError(f"task {message.task}: its arguments can't be serialised: {error}") from error
        addressed = replace(addressed, records=[page.record(now) for page in following.pages])
        outbox.check_size(message.task, addressed)
        return addressed

    def _seal_of_additions(self) -> str | None:
        from taskq_cloud.core.workflows import chord_additions  # few tasks add to their chord

        if self.message.unsigned:
            return None
        return self.outbox.codec.seal(chord_additions.seal_statement(self.message.id, self.added))

    def _children(self, state: str, following: Sequence[Successor]) -> list[str]:
        # The next tasks come first: they lead to the rest of a workflow, however many tasks this one has called.
        next_ones = [task_id for each in following[:MOST_CHILDREN] for task_id in each.ids]
        return [*next_ones, *(self.called if state in READY_STATES else ())][:MOST_CHILDREN]
