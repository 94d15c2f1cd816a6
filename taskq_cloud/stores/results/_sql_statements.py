"""The statements of the result stores in SQL databases: of records, joins, locks and slots.

The dialects are those of ``_sql_records``. A lock and a slot are one conditional statement each, as a record is.
"""

# ruff: noqa: S608 - the values that are inserted into these statements are names of tables and columns

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS
from taskq_cloud.stores.results._sql_records import Dialect, RecordStatements, RecordTable, Statement, delete_some

SWEPT: Final = 20
"""Each sweep removes so many expired rows more than were added since the last one: rows don't pile up, and no write
pays for all of them."""

GROUPS: Final = "taskset-"
"""The beginning of the ids of records that list a group's tasks (``core.workflows.saved_groups``)."""

_SERVER_TIME: Final[Mapping[Dialect, str]] = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS double precision)",
    "mysql": "CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)",
}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a store's tables, quoted where that is needed.

    Args:
        joins: the joins that were begun.
        members: the members that have arrived.
        claims: the locks.
        rates: the next slots of rate limits.
        key: the column with the key of a lock or a rate.
    """

    joins: str = "joins"
    members: str = "join_members"
    claims: str = "claims"
    rates: str = "rates"
    key: str = "key"


LOCAL_NAMES: Final = Names()
"""The names in a database file of our own."""


class Statements:
    """The statements of one store.

    Args:
        dialect: the database's dialect.
        records: the table of the records.
        names: the names of the other tables.
        groups: the table of the records whose ids begin with ``GROUPS``; None: it is that of the others.
        server_time: locks lapse by the server's clock, and not by that of the caller.
    """

    def __init__(
        self,
        dialect: Dialect,
        records: RecordTable,
        names: Names = LOCAL_NAMES,
        *,
        groups: RecordTable | None = None,
        server_time: bool = False,
    ) -> None:
        self.dialect = dialect
        self.records = RecordStatements(dialect, records)
        self.groups = None if groups is None else RecordStatements(dialect, groups)
        self._names = names
        self._now = _SERVER_TIME[dialect] if server_time and dialect in _SERVER_TIME else ":now"
        self._join = self._join_statements()

    @property
    def tables(self) -> list[RecordStatements]:
        """The statements of all tables of records."""
        return [self.records] if self.groups is None else [self.records, self.groups]

    def of(self, record_id: str) -> RecordStatements:
        """The statements of the table with a record."""
        return self.groups if self.groups is not None and record_id.startswith(GROUPS) else self.records

    def key_of(self, record_id: str) -> str:
        """The key of a record in its table."""
        return record_id.removeprefix(GROUPS) if self.groups is not None else record_id

    # Joins

    def join(self, join_id: str, member: str, expires_at: float | None, now: float) -> list[Statement]:
        """Enter a member; the answer to the last statement is a row with the number of members, ``arrived``.

        A member of the same join from before its expiry doesn't count. On a server, the first statement locks the join,
        so that of two members who arrive at once the later one sees the earlier one.
        """
        values = {"id": join_id, "member": member, "expires_at": expires_at, "now": now}
        return [(sql, values) for sql in self._join]

    def _join_statements(self) -> list[str]:
        names = self._names
        nothing = "ON DUPLICATE KEY UPDATE" if self.dialect == "mysql" else "ON CONFLICT DO NOTHING"
        lock = {
            "sqlite": "",
            "postgresql": f"""
                INSERT INTO {names.joins} AS stored (id, expires_at) VALUES (:id, :expires_at)
                ON CONFLICT (id) DO UPDATE SET expires_at = stored.expires_at
            """,
            "mysql": f"""
                INSERT INTO {names.joins} (id, expires_at) VALUES (:id, :expires_at)
                ON DUPLICATE KEY UPDATE expires_at = {names.joins}.expires_at
            """,
        }[self.dialect]
        begin_anew = f"""
            DELETE FROM {names.members}
            WHERE join_id = :id AND EXISTS (SELECT 1 FROM {names.joins} WHERE id = :id AND expires_at <= :now)
        """
        enter = f"""
            INSERT INTO {names.joins} (id, expires_at) VALUES (:id, :expires_at)
            ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
        """
        if self.dialect != "sqlite":
            enter = f"UPDATE {names.joins} SET expires_at = :expires_at WHERE id = :id"
        arrive = f"""
            INSERT INTO {names.members} (join_id, member) VALUES (:id, :member)
            {nothing}{" member = :member" if self.dialect == "mysql" else ""}
        """
        count = f"SELECT count(*) AS arrived FROM {names.members} WHERE join_id = :id"
        return [sql for sql in (lock, begin_anew, enter, arrive, count) if sql]

    def sweep_joins(self, now: float, limit: int) -> list[Statement]:
        """Remove some of the oldest join that has expired: first its members, and then the join."""
        names, skip = self._names, " FOR UPDATE SKIP LOCKED" if self.dialect == "postgresql" else ""
        oldest = f"SELECT id FROM {names.joins} WHERE expires_at <= :now ORDER BY expires_at LIMIT 1{skip}"
        of_oldest = f"join_id = ({oldest})"
        if self.dialect == "mysql":
            members = f"DELETE FROM {names.members} WHERE {of_oldest} LIMIT {limit}"
            join = f"""
                DELETE FROM {names.joins} WHERE expires_at <= :now
                    AND NOT EXISTS (SELECT 1 FROM {names.members} WHERE join_id = {names.joins}.id)
                ORDER BY expires_at LIMIT 1
            """
        else:
            members = f"""
                DELETE FROM {names.members} WHERE {of_oldest} AND member IN (
                    SELECT member FROM {names.members} WHERE {of_oldest} LIMIT {limit}
                )
            """
            join = f"""
                DELETE FROM {names.joins} WHERE id = ({oldest}) AND expires_at <= :now
                    AND NOT EXISTS (SELECT 1 FROM {names.members} WHERE join_id = {names.joins}.id)
            """
        return [(members, {"now": now}), (join, {"now": now})]

    # Locks and slots

    def claim(self, key: str, owner: str, ttl_seconds: float, now: float) -> list[Statement]:
        """Take, renew or give up a lock; the one of the answers is a row with its ``fence``, or none is."""
        claims, name, time = self._names.claims, self._names.key, self._now
        values: dict[str, Any] = {"key": key, "owner": owner, "ttl": float(ttl_seconds)}
        lapses_at, forgotten_at = f"{time} + :ttl", f"{time} - {FENCE_KEPT_SECONDS}"
        if time == ":now":  # PostgreSQL can't tell the type of a sum of parameters
            lapses_at, forgotten_at = ":lapses_at", ":forgotten_at"
            values |= {"now": now, "lapses_at": now + ttl_seconds, "forgotten_at": now - FENCE_KEPT_SECONDS}
        forget = delete_some(self.dialect, claims, name, f"lapses_at <= {forgotten_at}", SWEPT)
        if ttl_seconds <= 0:
            held = f"{name} = :key AND owner = :owner AND lapses_at > {time}"
            unlock = f"UPDATE {claims} SET lapses_at = {time} WHERE {held}"
            if self.dialect == "mysql":
                fence = f"SELECT fence FROM {claims} WHERE {held} FOR UPDATE"
                return [(fence, values), (unlock, values)]
            return [(forget, values), (f"{unlock} RETURNING fence", values)]
        insert = f"({name}, owner, fence, lapses_at) VALUES (:key, :owner, 1, {lapses_at})"
        lapsed = f"stored.lapses_at <= {time}"
        if self.dialect == "mysql":
            # The assignments count from left to right: the owner changes only if the lock has lapsed.
            lock = f"""
                INSERT INTO {claims} {insert} ON DUPLICATE KEY UPDATE
                    fence = fence + IF(lapses_at <= {time}, 1, 0),
                    owner = IF(lapses_at <= {time}, :owner, owner),
                    lapses_at = IF(owner = :owner, {lapses_at}, lapses_at)
            """
            fence = f"SELECT fence FROM {claims} WHERE {name} = :key AND owner = :owner"
            return [(forget, values), (lock, values), (fence, values)]
        lock = f"""
            INSERT INTO {claims} AS stored {insert} ON CONFLICT ({name}) DO UPDATE SET
                owner = excluded.owner, lapses_at = excluded.lapses_at,
                fence = stored.fence + CASE WHEN {lapsed} THEN 1 ELSE 0 END
            WHERE {lapsed} OR stored.owner = excluded.owner
            RETURNING fence
        """
        return [(forget, values), (lock, values)]

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float, now: float) -> list[Statement]:
        """Take a slot by ``rates.take_slot``; the answer to the last statement is a row with ``next_slot``, or none."""
        rates, name = self._names.rates, self._names.key
        interval, earliest = float(interval_seconds), now - credit_seconds
        values = {"key": key, "earliest": earliest, "interval": interval, "credit": float(credit_seconds)}
        values |= {"farthest": now + FARTHEST_SLOT_SECONDS}
        # Removing such a row changes nothing: the key's next slot would be the same without the row.
        forget = delete_some(self.dialect, rates, name, "spent_at <= :now", SWEPT)
        columns = f"({name}, next_slot, spent_at)"
        first = "(:key, :first, :first_spent)"
        values |= {"first": earliest + interval, "first_spent": earliest + interval + credit_seconds}
        if self.dialect == "mysql":
            slot = f"""
                INSERT INTO {rates} {columns} VALUES {first} ON DUPLICATE KEY UPDATE
                    given = IF(next_slot <= :farthest, 1, 0),
                    next_slot = IF(given = 1, GREATEST(next_slot, :earliest) + :interval, next_slot),
                    spent_at = next_slot + :credit
            """
            taken = f"SELECT next_slot FROM {rates} WHERE {name} = :key AND given = 1"
            return [(forget, {"now": now}), (slot, values), (taken, {"key": key})]
        later = "(CASE WHEN stored.next_slot > :earliest THEN stored.next_slot ELSE :earliest END)"
        slot = f"""
            INSERT INTO {rates} AS stored {columns} VALUES {first} ON CONFLICT ({name}) DO UPDATE SET
                next_slot = {later} + :interval, spent_at = {later} + :interval + :credit
            WHERE stored.next_slot <= :farthest
            RETURNING next_slot
        """
        return [(forget, {"now": now}), (slot, values)]
