"""The policy of a periodic task's tick: its entry's rules for late and overlapping ticks (step 5 of ``pipeline``).

The policy is applied when the message has been received, before the run, by claiming locks in the result store; of
several workers, only one gets a lock. Where the store has no locks, every tick runs.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.execution.steps.dead_letters import redriven_at
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Release, Settlement
from taskq_cloud.core.model.options import first_given
from taskq_cloud.core.model.outcome import Outcome, Replaced, Retrying
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.ticks import Tick
from taskq_cloud.core.workflows.planner import Successor

LOCK_MARGIN_SECONDS: Final = 60
"""Clocks differ, and a run is not over at the moment when its time limit is."""
REPEATED_WITHIN_SECONDS: Final = float(ticks.LATEST_FIRING_SECONDS + LONGEST_MESSAGE_SECONDS)
"""A platform may fire again for so long, and the message may then wait in its queue for so long."""
LONGEST_RUN_SECONDS: Final = 3600.0
"""The assumed length of a run without a time limit; declaring ``overlap`` asks for a time limit."""


@dataclass(frozen=True, slots=True)
class TickPolicy:
    """The policy of one tick.

    Args:
        context: the context of its delivery.
        tick: the tick, as its message describes it.
    """

    context: DeliveryContext
    tick: Tick

    def not_run(self) -> Flow[Settlement | None]:
        """Settle a message that stands for several ticks, or for none; None: it is one tick."""
        context, tick = self.context, self.tick
        if context.message.template_signed_at is not None and not self._begun():
            sent_at = context.delivery.sent_at
            forged = ticks.forged_time(context.message, context.now if sent_at is None else sent_at)
            if forged is not None:
                # No state is recorded, and the dead letter has no mark: the message's id follows from its fire time.
                reason = f"SecurityError: the fire time of schedule {tick.name!r} {forged}"
                context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
                return DeadLetter(context.delivery, reason)
        if not ticks.is_due(context.message, tick, self._now()):
            context.log(logging.DEBUG, "tick.not_due", "schedule %r is not due at that time", tick.name)
            return Acknowledge(context.delivery)
        if not tick.span_seconds:
            return None
        found = ticks.spread(context.message, tick)
        context.log(logging.DEBUG, "tick.spread", "schedule %r is due %d times", tick.name, len(found))
        yield from context.send(context.address([Successor(each, context.delivery.queue) for each in found]))
        return Acknowledge(context.delivery)

    def is_repeated(self) -> Flow[bool]:
        """Whether another message of the tick has come this far before: platforms fire at least once.

        The other message is still in its queue if its worker dies, so this message is not needed.
        """
        if self._begun() or not self._has_locks():
            return False
        message, delivery = self.context.message, self.context.delivery
        key = f"{message.id}/firing"
        claim = yield from self.context.environment.store.claim(key, delivery.message_id, REPEATED_WITHIN_SECONDS)
        return claim is None

    def refusal(self) -> Flow[str | None]:
        """The reason for not running the tick; None: it is to be run."""
        reason: str | None = None
        if not self._begun():
            reason = yield from self._too_late()
        if reason is None and self._skips_overlaps():
            claim = yield from self._claim_run(self._run_seconds())
            if claim is None:
                reason = f"the run of schedule {self.tick.name!r} before it has not ended (overlap='skip')"
        return reason

    def block_next_tick(self, outcome: Outcome) -> Flow[None]:
        """Keep the next tick from running at the same time as a retry or a replacement, before these are sent.

        The last task of a replacement is still the tick: it renews the lock when it begins, and gives it up at its end.
        """
        if isinstance(outcome, Retrying | Replaced) and self._skips_overlaps():
            until = outcome.after_seconds if isinstance(outcome, Retrying) else LONGEST_RUN_SECONDS
            yield from self._claim_run(until + self._run_seconds())

    def after_run(self, outcome: Outcome, settlement: Settlement) -> Flow[None]:
        """Let the next tick run, unless more of this tick is still to run."""
        if isinstance(settlement, Release) or not self._skips_overlaps():
            return
        if isinstance(outcome, Retrying | Replaced):
            stored = yield from self.context.load()
            if stored is None or not stored.final:
                return
        yield from self.ended()

    def ended(self) -> Flow[None]:
        """Let the next tick run, as this one is over."""
        if self._skips_overlaps():
            yield from self._claim_run(0)

    def _too_late(self) -> Flow[str | None]:
        tick, fire_time = self.tick, ticks.fire_time_of(self.context.message)
        # Time for which the tick was held back on purpose does not make it late.
        held = timedelta(seconds=ticks.held_seconds(tick, ticks.tick_id(tick.application, tick.name, fire_time)))
        now = max(self._now() - held, fire_time)
        following = tick.timing.following(fire_time)
        if tick.catch_up == "skip" and following is not None and following <= now:
            return (
                f"the next tick of schedule {tick.name!r} has been due since {following.isoformat()} (catch_up='skip')"
            )
        if tick.catch_up != "one" or not self._has_locks():
            return None
        # One run begins for each fire time that is the last one due. It stands for all earlier ticks that have not run.
        latest = tick.timing.latest(now, fire_time) or fire_time
        upcoming = tick.timing.following(now)
        # Other ticks of the fire time are held back for up to the jitter.
        until = (
            tick.jitter_seconds
            + LOCK_MARGIN_SECONDS
            + ((upcoming - now).total_seconds() if upcoming is not None else 0)
        )
        key = ticks.tick_id(tick.application, tick.name, latest) + "/catch-up"
        claim = yield from self.context.environment.store.claim(key, self.context.message.id, until)
        if claim is None:
            return f"another tick of schedule {tick.name!r} has run since it was due (catch_up='one')"
        return None

    def _begun(self) -> bool:
        """Whether the tick has run before: it is a retry, a replacement, or was redriven by an operator."""
        return self.context.message.attempt > 0 or redriven_at(self.context) is not None

    def _skips_overlaps(self) -> bool:
        return self.tick.overlap == "skip" and self._has_locks()

    def _has_locks(self) -> bool:
        return self.context.environment.store.capabilities.claims

    def _claim_run(self, seconds: float) -> Flow[int | None]:
        return self.context.store.claim(f"{self.tick.key}/running", self.context.message.id, seconds)

    def _run_seconds(self) -> float:
        context = self.context
        limits = (context.message.timelimit[0], context.options.time_limit, context.environment.policy.time_limit)
        return float(first_given(*limits, LONGEST_RUN_SECONDS) or 0) + LOCK_MARGIN_SECONDS

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.context.now, UTC)


def policy_of(context: DeliveryContext) -> TickPolicy | None:
    """The policy of a delivery's message; None: the message is not a tick."""
    tick = ticks.tick_of(context.message)
    return None if tick is None else TickPolicy(context, tick)
