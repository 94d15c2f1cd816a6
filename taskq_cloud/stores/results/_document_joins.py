"""Counts the members of a join in one document, which each member changes in the version that it has read.

The document holds the set of the members that have arrived, so no member counts twice, and the writer that completes
the set knows it: of all writes of one document, the last one sees all members before it. A process may die after its
write. When its message comes back, the member is in the set, nothing is written, and the answer is about the whole set.

The set is a number whose bit ``n`` stands for member ``n``: 200 members, the most that the core gives to one join, take
50 digits. So a join costs one read and one write for each member, and more if members arrive at once: a member that has
lost a race pauses for a time by chance, which is the longer the more members are still missing (``_documents``). A
hundred members at once take some seconds.
"""

from __future__ import annotations

import json
import math

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.stores.buckets import StoredObject


@dataclass(frozen=True, slots=True)
class Arrived:
    """The members of a join that have arrived.

    Args:
        members: the set of them, bit by bit.
        expires_at: when the join expires, in seconds since the epoch: the latest time that an arrival has set;
            infinity: never.
    """

    members: int = 0
    expires_at: float = -math.inf

    @classmethod
    def read(cls, stored: StoredObject | None, now: float) -> Arrived:
        """Read a join's document; a join that has expired, or has no document yet, has no members."""
        if stored is None:
            return cls()
        document = json.loads(stored.body)
        expires_at = math.inf if document["expires_at"] is None else document["expires_at"]
        return cls(int(document["members"], 16), expires_at) if expires_at > now else cls()

    @property
    def count(self) -> int:
        """How many members have arrived."""
        return self.members.bit_count()

    def with_member(self, member: int, expires_at: float | None) -> Arrived:
        """The members after one has arrived, which never makes the join expire earlier."""
        latest = max(self.expires_at, math.inf if expires_at is None else expires_at)
        return Arrived(self.members | 1 << member, latest)

    def document(self) -> StoredObject:
        """The join's document."""
        expires_at = None if self.expires_at == math.inf else self.expires_at
        body = json.dumps({"members": f"{self.members:x}", "expires_at": expires_at}).encode()
        return StoredObject(body, {}, expires_at=expires_at)
