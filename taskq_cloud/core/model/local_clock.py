"""Follows this machine's clock when it is set back, for adapters that keep times in memory or in an SQLite file.

A time that was computed from the old clock is then moved back by the step, so that no wait becomes longer by it.
"""

from __future__ import annotations

from typing import Final

CLOCK_SET_BACK_SECONDS: Final = 10
"""A time that is earlier than the latest by more than this means that the machine's clock was set back. Processes that
share a file write their times in another order than they read them, which makes smaller differences."""

CLOCK_STEP_SECONDS: Final = 1
"""A file's latest time is written at most this often, which keeps most transactions free of that write."""

STEP_BACK: Final = f"(old.latest + {CLOCK_STEP_SECONDS} - new.latest)"
"""SQL, for the moves of ``clock_schema``: the seconds by which the clock was set back."""


class LatestTime:
    """The latest reading of the clock. Threads may share it only under a lock of its owner.

    Args:
        now: the first reading, in seconds since the epoch.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._latest = now

    def step_back(self, now: float) -> float:
        """Note a reading, and return how many seconds the clock was set back since the last one; 0: it was not."""
        back_seconds, self._latest = self._latest - now, now
        return back_seconds if back_seconds > CLOCK_SET_BACK_SECONDS else 0.0


def clock_schema(table: str, moves: str) -> str:
    """Return the SQL of a table with the latest time that a process of the file has seen.

    Args:
        table: the table's name.
        moves: statements that move the file's times by ``STEP_BACK``; run when the clock was set back.
    """
    return f"""
CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, latest REAL NOT NULL);
INSERT INTO {table} (id, latest) VALUES (1, 0) ON CONFLICT DO NOTHING;
CREATE TRIGGER IF NOT EXISTS {table}_set_back AFTER UPDATE OF latest ON {table}
WHEN new.latest < old.latest BEGIN
    {moves}
END
"""  # noqa: S608 - the inserted values of this and the following statement are constants


def see_time(table: str) -> str:
    """Return the SQL that notes the time ``:now`` in the table of ``clock_schema``."""
    return f"""
    UPDATE {table} SET latest = :now
    WHERE id = 1 AND (latest < :now - {CLOCK_STEP_SECONDS} OR latest > :now + {CLOCK_SET_BACK_SECONDS})
"""  # noqa: S608
