"""The URLs of SQLAlchemy's databases: which dialect they name, and which drivers serve threads and event loops.

A URL may name a driver (``mysql+pymysql://``). If it is one for threads, an event loop takes one of the others, and the
reverse; a URL without a driver takes the first one that is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

DIALECTS: Final[Mapping[str, str]] = {
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
"""The dialect of a URL -> the one that the statements are written in."""

THREADS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "postgresql": (("psycopg", "psycopg"), ("psycopg2", "psycopg2"), ("pg8000", "pg8000")),
    "mysql": (("pymysql", "pymysql"), ("mysqldb", "MySQLdb"), ("mysqlconnector", "mysql.connector")),
    "sqlite": (("pysqlite", "sqlite3"),),
}
"""Dialect -> the drivers for threads, each with its module, in the order of preference."""

LOOPS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "postgresql": (("psycopg_async", "psycopg"), ("asyncpg", "asyncpg")),
    "mysql": (("asyncmy", "asyncmy"), ("aiomysql", "aiomysql")),
    "sqlite": (("aiosqlite", "aiosqlite"),),
}
"""Dialect -> the drivers for event loops."""

EXTRAS: Final[Mapping[str, str]] = {"postgresql": "postgresql", "mysql": "mysql", "sqlite": "sqlalchemy"}
"""Dialect -> the extra with a driver."""


def driver_for(scheme: str, *, loop: bool) -> str | None:
    """Choose the driver for a URL.

    Args:
        scheme: the URL's scheme, with or without a driver: ``postgresql``, ``mysql+pymysql``.
        loop: whether the driver is for an event loop.

    Returns:
        The scheme with the driver; None: none is installed.
    """
    dialect, _, driver = scheme.partition("+")
    known = DIALECTS[dialect]
    ours, others = (LOOPS, THREADS) if loop else (THREADS, LOOPS)
    if driver == "psycopg" and loop:  # the only name that SQLAlchemy gives to drivers of both kinds
        driver = "psycopg_async"
    named = {name for name, _ in ours[known]}
    if driver and (driver in named or (not loop and driver not in {name for name, _ in others[known]})):
        return f"{dialect}+{driver}"
    for name, module in ours[known]:
        if find_spec(module.partition(".")[0]) is not None:
            return f"{dialect}+{name}"
    return None
