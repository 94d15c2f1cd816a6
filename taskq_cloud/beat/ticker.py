"""The local ticker: sends each periodic task's message when it is due, without a platform's scheduler.

Several may run: one leads, by a claim in the result store that it renews; the others wait for the claim to lapse. Up to
which time an entry's ticks were sent is kept in the store as well, under the claim's fencing number, so a new leader
goes on where the last one was. What both have sent has one id, and runs once. Nothing here waits: ``turn`` does what is
due and says when to be called again; ``running`` calls it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskq_cloud.beat.declarations import application_name, queue_of, tick_message, transport_of
from taskq_cloud.core import serializers
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.sending import Addressed
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message, Refused
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import STARTED, Record
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import ImproperlyConfigured, TaskQError
from taskq_cloud.runtime.protocols import Application

logger: Final = logging.getLogger("taskq_cloud.beat")

LEASE_SECONDS: Final = 30.0
"""How long the claim of a leader lasts that is gone without a word."""
RENEWALS: Final = 3
"""In one lease: two may fail."""
TICKS_AT_ONCE: Final = 100
"""Messages sent before it is written down that they were."""
COMPARED_EVERY_SECONDS: Final = 600.0
"""Whether the leader sends what this one would: seldom enough to cost nothing, and to be no noise in the log."""
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 30.0


@dataclass(slots=True, kw_only=True)
class Ticker:
    """One of the tickers of an application.

    Args:
        app: the application.
        entries: its periodic tasks.
        owner: what tells it from other tickers.
        clock: the time, in seconds since the epoch.
        lease_seconds: see ``LEASE_SECONDS``.

    Raises:
        ImproperlyConfigured: the application has no name, or its result store no claims.
    """

    app: Application
    entries: Sequence[ScheduleEntry]
    owner: str
    clock: Callable[[], float]
    lease_seconds: float = LEASE_SECONDS
    _application: str = field(init=False)
    _fence: int | None = field(init=False, default=None)
    _claimed_at: float = field(init=False, default=-math.inf)
    _sent_until: dict[str, datetime] = field(init=False, default_factory=dict)
    _upcoming: dict[str, datetime | None] = field(init=False, default_factory=dict)
    _failures: dict[str, int] = field(init=False, default_factory=dict)
    _again_at: dict[str, float] = field(init=False, default_factory=dict)
    _compared_at: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        if self.app.main is None:
            raise ImproperlyConfigured(
                'the application has no name, and one ticker leads for all applications of a name: say TaskQ("shop")'
            )
        self._application = application_name(self.app)
        if not self.app.store.capabilities.claims:
            raise ImproperlyConfigured(
                "a ticker needs a result store with claims, which choose one of several and keep where it was: set "
                "TASKQ_RESULTS, for example to sqlite:///results.db, dynamodb://table or s3://bucket"
            )

    @property
    def leads(self) -> bool:
        """Whether this is the one that sends."""
        return self._fence is not None

    def turn(self) -> Flow[float]:
        """Send what is due; returns in how many seconds to call this again. An entry that can't be sent is due still.

        Raises:
            TaskQError: the claim could not be had or renewed, or no store was there to ask.
        """
        yield from self._campaign()
        if self._fence is None:
            return self.lease_seconds / RENEWALS
        for entry in self._enabled():
            if self.clock() < self._next_look(entry):
                continue
            yield from self._try_to_send(entry)
            if self._fence is None or self.clock() >= self._renewal_at:
                return 0.0  # of many that are due: the claim comes first
        return max(0.0, min([self._renewal_at, *map(self._next_look, self._enabled())]) - self.clock())

    def resign(self) -> Flow[None]:
        """Let another lead at once."""
        if self._fence is not None:
            self._fence = None
            yield from self._store.claim(self._key, self.owner, 0)
            logger.info("%s no longer leads", self.owner, extra={"action": "beat.resigned"})

    # -- leading

    def _campaign(self) -> Flow[None]:
        now = self.clock()
        if self._fence is not None and now < self._renewal_at:
            return
        if now - self._claimed_at >= self.lease_seconds:
            self._fence = None  # nobody may have noticed, and another lead by now
        fence = yield from self._store.claim(self._key, self.owner, self.lease_seconds)
        if fence is None:
            self._follow()
            yield from self._compare()
            return
        self._claimed_at = now
        if fence != self._fence:
            yield from self._take_over(fence)
            self._fence = fence
            logger.info(
                "%s leads: %d periodic tasks", self.owner, len(self._enabled()), extra={"action": "beat.leading"}
            )

    def _follow(self) -> None:
        if self._fence is not None:
            logger.warning("%s no longer leads: another does", self.owner, extra={"action": "beat.lost"})
        self._fence = None

    def _compare(self) -> Flow[None]:
        """Tell of entries that the leader doesn't have: of another application, or while a deployment is rolled out."""
        if self.clock() < self._compared_at + COMPARED_EVERY_SECONDS:
            return
        record = (yield from self._store.load([self._leader_id])).get(self._leader_id)
        if record is None:
            return  # it has only just begun to lead
        self._compared_at = self.clock()
        leader = document.decode(record.payload)["result"]
        missing = sorted({entry.name for entry in self._enabled()} - set(leader["entries"]))
        if missing:
            logger.warning(
                "%s leads for application %r and doesn't have the periodic tasks %s, so nobody sends them: that is "
                "over when a deployment that is under way is; two applications with one result store need two names",
                leader["owner"],
                self._application,
                ", ".join(map(repr, missing)),
                extra={"action": "beat.not_sent", "schedules": missing},
            )

    def _take_over(self, fence: int) -> Flow[None]:
        """Read up to where entries' ticks were sent; one that is new begins now, and so does one that was disabled."""
        now = self._now()
        enabled = {self._record_id(entry): entry for entry in self._enabled()}
        disabled = [self._record_id(entry) for entry in self.entries if not entry.enabled]
        found = yield from self._store.load([*enabled, self._leader_id])
        # A store forgets the numbers of claims in time, and would not write under a smaller one over these.
        outlived = [each for each in found if found[each].fence > fence]
        yield from self._store.delete([*disabled, *outlived])
        self._sent_until = {
            entry.name: min(now, _read(found[record_id])) if record_id in found else now
            for record_id, entry in enabled.items()
        }
        self._upcoming = {entry.name: entry.timing.following(self._sent_until[entry.name]) for entry in self._enabled()}
        self._failures, self._again_at = {}, {}
        unknown = [entry for record_id, entry in enabled.items() if record_id not in found or record_id in outlived]
        leader = {"owner": self.owner, "entries": [entry.name for entry in self._enabled()]}
        of_leader = self._kept(self._leader_id, "beat", leader, fence)
        yield from self._store.save([of_leader, *(self._record(entry, fence) for entry in unknown)])

    # -- sending

    def _try_to_send(self, entry: ScheduleEntry) -> Flow[None]:
        """Send what an entry has due; one that can't be sent must not keep the others from it."""
        try:
            yield from self._send_due(entry, self._now())
        except TaskQError as error:
            failures = self._failures[entry.name] = self._failures.get(entry.name, 0) + 1
            wait_seconds = growing_delay(failures, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
            self._again_at[entry.name] = self.clock() + wait_seconds
            extra = {"action": "beat.failed", "task": entry.task, "schedule": entry.name}
            logger.error(  # noqa: TRY400 - it says all there is to know
                "periodic task %s is not sent, and tried again in %.0f s: %s",
                entry.name,
                wait_seconds,
                error,
                extra=extra,
            )
        else:
            self._failures.pop(entry.name, None)
            self._again_at.pop(entry.name, None)

    def _send_due(self, entry: ScheduleEntry, now: datetime) -> Flow[None]:
        """Send an entry's ticks up to now: of several, those that its ``catch_up`` asks for."""
        while due := self._due(entry, now):
            addressed = [self._addressed(entry, moment) for moment in due]
            answers = yield from self.app.outbox.send(addressed)
            for answer in answers:
                if isinstance(answer, Refused):
                    raise answer.error
            for moment in due:
                extra = {"action": "beat.sent", "task": entry.task, "schedule": entry.name}
                logger.info("sent %s, due at %s", entry.name, moment.isoformat(), extra=extra)
            self._sent_until[entry.name] = due[-1]
            self._upcoming[entry.name] = entry.timing.following(due[-1])
            if not (yield from self._remember(entry)):
                return

    def _due(self, entry: ScheduleEntry, now: datetime) -> list[datetime]:
        last = self._sent_until[entry.name]
        if entry.catch_up == "all":
            return _first(entry.timing.between(last + timedelta(seconds=1), now + timedelta(seconds=1)), TICKS_AT_ONCE)
        due = self._upcoming[entry.name]
        if due is None or due > now:
            return []
        return [entry.timing.latest(now) or due]

    def _addressed(self, entry: ScheduleEntry, moment: datetime) -> Addressed:
        app = self.app
        tick = ticks.tick_of_entry(entry, self._application, jitter_seconds=entry.jitter_seconds)
        message = tick_message(app, entry, tick, moment)
        return app.outbox.address(message, queue_of(app, entry), self.clock(), transport_of(app, entry))

    def _remember(self, entry: ScheduleEntry) -> Flow[bool]:
        """Write down up to where an entry's ticks were sent; whether this one still leads."""
        (written,) = yield from self._store.save([self._record(entry, self._fence or 0)])
        if not written:
            stored = (yield from self._store.load([self._record_id(entry)])).get(self._record_id(entry))
            if stored is not None and stored.fence != self._fence:
                self._follow()
                self._claimed_at = -math.inf
                return False
        return True

    # -- what it keeps in the store

    @property
    def _store(self) -> ResultStore:
        return self.app.store

    @property
    def _key(self) -> str:
        return derived_id(self._application, "beat")

    @property
    def _leader_id(self) -> str:
        return derived_id(self._application, "beat/leader")

    def _record_id(self, entry: ScheduleEntry) -> str:
        return derived_id(f"{self._application}/{entry.name}", "beat")

    def _record(self, entry: ScheduleEntry, fence: int) -> Record:
        content = {"schedule": entry.name, "sent_until": self._sent_until[entry.name].isoformat()}
        return self._kept(self._record_id(entry), entry.task, content, fence)

    def _kept(self, record_id: str, task: str, content: Mapping[str, Any], fence: int) -> Record:
        message = Message(task=task, id=record_id)
        text = document.encode(message, STARTED, serializers.dumps(content), now=self.clock())
        return Record(record_id, STARTED, 0, text, None, fence)

    # -- time

    def _enabled(self) -> list[ScheduleEntry]:
        return [entry for entry in self.entries if entry.enabled]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(math.floor(self.clock()), UTC)

    @property
    def _renewal_at(self) -> float:
        return self._claimed_at + self.lease_seconds / RENEWALS

    def _next_look(self, entry: ScheduleEntry) -> float:
        upcoming = self._upcoming[entry.name]
        due = math.inf if upcoming is None else upcoming.timestamp()
        return max(due, self._again_at.get(entry.name, 0.0))


def _read(record: Record) -> datetime:
    content = document.decode(record.payload)["result"]
    return datetime.fromisoformat(content["sent_until"])


def _first(moments: Iterable[datetime], count: int) -> list[datetime]:
    return [moment for moment, _ in zip(moments, range(count), strict=False)]
