"""The description of a table in an SQL database, by which a client creates it or adds the columns that it lacks."""

from __future__ import annotations

from taskq_cloud.core.lazy.values import dataclass


@dataclass(frozen=True, slots=True)
class SQLTable:
    """A table that a store needs.

    Args:
        name: its name.
        schema: the schema that it is in; None: the connection's.
        create: the statements that create it and its indexes. An index that may exist is created by ``complete``.
        columns: column -> the statement that adds it to a table that lacks it.
        complete: the statements that are run after columns were added, such as those for their indexes.
    """

    name: str
    schema: str | None
    create: tuple[str, ...]
    columns: tuple[tuple[str, str], ...] = ()
    complete: tuple[str, ...] = ()
