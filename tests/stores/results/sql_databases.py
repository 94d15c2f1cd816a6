"""Databases of a test module's own, on the run's PostgreSQL and MariaDB."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final
from uuid import uuid4

import psycopg
import pymysql

_START_SECONDS: Final = 30.0


def connected(connect: Callable[[], Any], failures: type[Exception]) -> Any:
    """Connect to a server, which may accept connections a moment before it answers."""
    ends_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            return connect()
        except failures:
            if time.monotonic() > ends_at:
                raise


def postgresql_server(url: str, database: str = "postgres") -> Any:
    """Connect to a database of a server of PostgreSQL, with autocommit."""
    return connected(lambda: psycopg.connect(f"{url}/{database}", autocommit=True), psycopg.OperationalError)


def mariadb_server(url: str, database: str | None = None) -> Any:
    """Connect to a server of MariaDB, with autocommit."""
    port = int(url.rpartition(":")[2])
    return connected(
        lambda: pymysql.connect(
            host="127.0.0.1", port=port, user="taskq", password="taskq", database=database, autocommit=True
        ),
        pymysql.err.OperationalError,
    )


@contextmanager
def postgresql_database(server: str, options: str = "") -> Iterator[str]:
    """Create a database in PostgreSQL, with options in SQL, and yield its URL: ``postgresql://...``."""
    name = f"taskq_{uuid4().hex}"
    with closing(postgresql_server(server)) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        yield f"{server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def mariadb_database(server: str) -> Iterator[str]:
    """Create a database in MariaDB, and yield its URL: ``mysql+pymysql://...``."""
    name = f"taskq_{uuid4().hex}"
    with closing(mariadb_server(server)) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield f"{server}/{name}"
        connection.cursor().execute(f"DROP DATABASE {name}")
