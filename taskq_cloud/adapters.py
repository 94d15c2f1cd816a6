"""The names that an author of a broker or a store needs: ports, their values, flows, and the rules that stores follow.

An application imports nothing from here, except to talk to its broker by itself (``app.broker``). docs/adapters.md
shows how a broker is written; the contract suites that test it are in ``taskq_cloud.testing.contracts``.
"""

from taskq_cloud.clients.base import AsyncClient, Client, ThreadedClient
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, RenewCredentials, Sleep, Step, Trouble
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import (
    DEFAULT_GROUP,
    BrokerCapabilities,
    ScheduleCapabilities,
    StoreCapabilities,
    dead_letter_queue,
    is_ordered,
)
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_SOURCE,
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
    Settlement,
)
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, SchedulePage
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS, take_slot
from taskq_cloud.core.ports import (
    Broker,
    CountsWaiting,
    Depth,
    HeldMessage,
    HeldPage,
    KnowsPhysicalNames,
    KnowsTargets,
    ListsHeld,
    ResultStore,
    ScheduleStore,
    Service,
    TellsOfEnds,
)
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FencedLock, Record, claimed, may_replace
from taskq_cloud.core.urls import file_of, query_of, without_secrets

__all__ = [
    "DEAD_LETTER_REASON",
    "DEAD_LETTER_SOURCE",
    "DEFAULT_GROUP",
    "FARTHEST_SLOT_SECONDS",
    "FENCE_KEPT_SECONDS",
    "Acknowledge",
    "AsyncClient",
    "Broker",
    "BrokerCapabilities",
    "Call",
    "CallError",
    "Client",
    "CountsWaiting",
    "DeadLetter",
    "Delivery",
    "Depth",
    "FencedLock",
    "Flow",
    "Gather",
    "HeldMessage",
    "HeldPage",
    "KnowsPhysicalNames",
    "KnowsTargets",
    "Listener",
    "ListsHeld",
    "Outgoing",
    "PlatformSchedule",
    "Record",
    "Refused",
    "Release",
    "RenewCredentials",
    "ResultStore",
    "ScheduleCapabilities",
    "SchedulePage",
    "ScheduleStore",
    "Sent",
    "Service",
    "Settlement",
    "Sleep",
    "Step",
    "StoreCapabilities",
    "TellsOfEnds",
    "ThreadedClient",
    "Trouble",
    "claimed",
    "dead_letter_queue",
    "file_of",
    "is_ordered",
    "may_replace",
    "query_of",
    "take_slot",
    "without_secrets",
]
