"""Whether a tick is run: what its entry says of ticks that come late, or while the one before has not ended.

Decided when the message is here, before the run (``execution``, before step 6), by claims in the result store, which
several workers can't have at the same time. Where the store has none, every tick runs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from taskq_cloud.core.execution.context import DeliveryContext, first
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, Release, Settlement
from taskq_cloud.core.model.outcome import Outcome, Replaced, Retrying
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.ticks import Tick
from taskq_cloud.core.workflows.planner import Successor

CLAIM_MARGIN_SECONDS: Final = 60
"""Clocks differ, and a run is not over when its time limit is."""
REPEATED_WITHIN_SECONDS: Final = 86_400.0
"""EventBridge Scheduler gives up after a day at the latest (User Guide, "managing-schedule-retry-policy")."""
LONGEST_RUN_SECONDS: Final = 3600.0
"""How long a run without a time limit is taken to run on; declaring one asks for a time limit."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What a tick's entry says of running it.

    Args:
        effects: what its delivery may do.
        tick: what its message says of the entry.
    """

    effects: DeliveryContext
    tick: Tick

    def not_run(self) -> Flow[Settlement | None]:
        """The settlement of a message that only stands for ticks, or for none; None: it is one."""
        effects, tick = self.effects, self.tick
        if not ticks.is_due(effects.message, tick, self._now()):
            effects.log(logging.DEBUG, "tick.not_due", "schedule %r is not due at that time", tick.name)
            return Acknowledge(effects.delivery)
        if not tick.span_seconds:
            return None
        found = ticks.spread(effects.message, tick)
        effects.log(logging.DEBUG, "tick.spread", "schedule %r is due %d times", tick.name, len(found))
        yield from effects.send(effects.address([Successor(each, effects.delivery.queue) for each in found]))
        return Acknowledge(effects.delivery)

    def is_repeated(self) -> Flow[bool]:
        """Whether another message of the same tick has come to this point: platforms fire at least once.

        That one is still in its queue if its worker dies, so this one is not needed.
        """
        if self._begun() or not self._claims():
            return False
        message, delivery = self.effects.message, self.effects.delivery
        key = f"{message.id}/firing"
        claim = yield from self.effects.environment.store.claim(key, delivery.message_id, REPEATED_WITHIN_SECONDS)
        return claim is None

    def refusal(self) -> Flow[str | None]:
        """Why a tick is not to be run; None: it is."""
        reason: str | None = None
        if not self._begun():
            reason = yield from self._too_late()
        if reason is None and self._keeps_apart():
            claim = yield from self._claim_run(self._run_seconds())
            if claim is None:
                reason = f"the run of schedule {self.tick.name!r} before it has not ended (overlap='skip')"
        return reason

    def before_more(self, outcome: Outcome) -> Flow[None]:
        """Before what is still to run of a tick is sent: keep the next one from running beside it.

        Of what it is replaced by, the last task is the tick still: it renews this when it begins, and ends it.
        """
        if isinstance(outcome, Retrying | Replaced) and self._keeps_apart():
            until = outcome.after_seconds if isinstance(outcome, Retrying) else LONGEST_RUN_SECONDS
            yield from self._claim_run(until + self._run_seconds())

    def after_run(self, outcome: Outcome, settlement: Settlement) -> Flow[None]:
        """Let the next tick run, unless there is more to run of this one."""
        if isinstance(settlement, Release) or not self._keeps_apart():
            return
        if isinstance(outcome, Retrying | Replaced):
            stored = yield from self.effects.load()
            if stored is None or not stored.final:
                return
        yield from self.ended()

    def ended(self) -> Flow[None]:
        """Let the next tick run: this one is over."""
        if self._keeps_apart():
            yield from self._claim_run(0)

    def _too_late(self) -> Flow[str | None]:
        tick, moment = self.tick, ticks.fire_time_of(self.effects.message)
        # What it was held back for is no lateness: it has come so much later than it was due.
        held = timedelta(seconds=ticks.held_seconds(tick, ticks.tick_id(tick.application, tick.name, moment)))
        now = max(self._now() - held, moment)
        following = tick.timing.following(moment)
        if tick.catch_up == "skip" and following is not None and following <= now:
            return (
                f"the next tick of schedule {tick.name!r} has been due since {following.isoformat()} (catch_up='skip')"
            )
        if tick.catch_up != "one" or not self._claims():
            return None
        # One run begins for each time that is the last one due: it is for all those before that have not had theirs.
        latest = tick.timing.latest(now) or moment
        upcoming = tick.timing.following(now)
        # Others of its time are held back for up to so much longer.
        until = (
            tick.jitter_seconds
            + CLAIM_MARGIN_SECONDS
            + ((upcoming - now).total_seconds() if upcoming is not None else 0)
        )
        key = ticks.tick_id(tick.application, tick.name, latest) + "/catch-up"
        claim = yield from self.effects.environment.store.claim(key, self.effects.message.id, until)
        if claim is None:
            return f"another tick of schedule {tick.name!r} has run since it was due (catch_up='one')"
        return None

    def _begun(self) -> bool:
        """Whether it has run before: a retry, what replaces it, or what an operator has moved back."""
        return self.effects.message.attempt > 0 or DEAD_LETTER_REASON in self.effects.delivery.attributes

    def _keeps_apart(self) -> bool:
        return self.tick.overlap == "skip" and self._claims()

    def _claims(self) -> bool:
        return self.effects.environment.store.capabilities.claims

    def _claim_run(self, seconds: float) -> Flow[int | None]:
        key, effects = f"{self.tick.key}/running", self.effects
        return (yield from effects.insist(lambda: effects.environment.store.claim(key, effects.message.id, seconds)))

    def _run_seconds(self) -> float:
        effects = self.effects
        limits = (effects.message.timelimit[0], effects.options.time_limit, effects.environment.policy.time_limit)
        return float(first(*limits, LONGEST_RUN_SECONDS)) + CLAIM_MARGIN_SECONDS

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.effects.environment.clock(), UTC)


def guard_of(effects: DeliveryContext) -> Guard | None:
    """The guard of a delivery's message; None: it is no tick."""
    tick = ticks.tick_of(effects.message)
    return None if tick is None else Guard(effects, tick)
