"""The description of a table in an SQL database, by which a client creates it or adds the columns that it lacks.

Also here: the form of a statement's parameters that most drivers take.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

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


_PARAMETER: Final = re.compile(r"(?<![:\w]):(\w+)")


@lru_cache(maxsize=256)
def pyformat(sql: str) -> str:
    """Write the parameters of a statement as ``%(name)s`` in place of ``:name``; the statement has no other ``%``."""
    return _PARAMETER.sub(r"%(\1)s", sql)
