"""The tables of the PostgreSQL broker; the statements for them are in ``_postgresql_statements``.

A message can be received once its ``visible_at`` has passed. A delay, a lease and a release for later all set
``visible_at`` to a time in the future, so the messages of a process that dies come back by themselves. ``lease``
counts the deliveries of a message, so that the receipt of one, ``sequence.lease``, never comes again.

The groups of ordered queues have a row each while they have messages. Whoever sends to a group, receives from it or
settles one of its messages locks its row first, so that the order of a group's messages is the order in which their
transactions were committed. A group can be received from once its ``ready_at`` has passed: when no message of it is
leased, and its first one is due.

An update of ``visible_at`` moves the message in its index, so that no update is a HOT update and a fillfactor below 100
would save nothing; rows of groups are updated in place. Finished messages are garbage for autovacuum, which by default
would wait until there is a fifth as much of it as there are messages waiting.
"""

from __future__ import annotations

import re
from typing import Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import ImproperlyConfigured

VERSION: Final = 1
"""Raised by a change of the tables, with the statements that change older ones."""

DEFAULT_PREFIX: Final = "taskq_"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Names that need no quoting in any tool; the longest name made of one has 63 bytes, PostgreSQL's limit."""

_VACUUM: Final = (
    "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_analyze_scale_factor = 0.1, "
    "autovacuum_vacuum_cost_delay = 0"
)

_SCRIPT: Final = """
CREATE TABLE IF NOT EXISTS {messages} (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    visible_at double precision NOT NULL,
    lease integer NOT NULL DEFAULT 0,
    leased boolean NOT NULL DEFAULT false,
    receive_count integer NOT NULL DEFAULT 0,
    message_group text,
    tenant text,
    message_id text NOT NULL,
    sent_at double precision NOT NULL,
    attributes text,
    body text NOT NULL
) WITH ({vacuum});
CREATE INDEX IF NOT EXISTS "{prefix}messages_by_time" ON {messages} (queue, visible_at, sequence);
CREATE INDEX IF NOT EXISTS "{prefix}messages_in_group" ON {messages} (queue, message_group, sequence)
    WHERE message_group IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{prefix}messages_in_flight" ON {messages} (queue, message_group, visible_at)
    WHERE message_group IS NOT NULL AND leased;
CREATE TABLE IF NOT EXISTS {groups} (
    queue text NOT NULL,
    message_group text NOT NULL,
    ready_at double precision NOT NULL,
    holder text,
    PRIMARY KEY (queue, message_group)
) WITH (fillfactor = 70, {vacuum});
CREATE INDEX IF NOT EXISTS "{prefix}groups_by_time" ON {groups} (queue, ready_at);
CREATE TABLE IF NOT EXISTS {deduplication} (
    queue text NOT NULL,
    id text NOT NULL,
    message_id text NOT NULL,
    seen_at double precision NOT NULL,
    PRIMARY KEY (queue, id)
) WITH ({vacuum});
CREATE INDEX IF NOT EXISTS "{prefix}deduplication_by_time" ON {deduplication} (queue, seen_at);
COMMENT ON TABLE {messages} IS 'messages of taskq-cloud, version {version}';
"""

_CHECK: Final = """
SELECT coalesce(
    substring(obj_description(to_regclass('{messages}'), 'pg_class') FROM 'version ([0-9]+)')::integer, 0
) >= {version} AS is_there
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """The names of the tables.

    Args:
        schema: the schema that has them; empty: the first one of the role's search_path.
        prefix: the beginning of their names.
    """

    schema: str = ""
    prefix: str = DEFAULT_PREFIX

    @property
    def names(self) -> dict[str, str]:
        """The tables' names in SQL."""
        beginning = f'"{self.schema}".' if self.schema else ""
        return {each: f'{beginning}"{self.prefix}{each}"' for each in ("messages", "groups", "deduplication")}

    @property
    def script(self) -> tuple[str, str]:
        """The query that tells whether the tables are there, and the statements that create them, for the client."""
        check = _CHECK.format(**self.names, version=VERSION)
        script = _SCRIPT.format(**self.names, prefix=self.prefix, vacuum=_VACUUM, version=VERSION)
        return check, (f'CREATE SCHEMA IF NOT EXISTS "{self.schema}";' if self.schema else "") + script

    def check(self, shown_url: str) -> None:
        """Raise ``ImproperlyConfigured`` for names that PostgreSQL would have to be given in quotes.

        Args:
            shown_url: the broker's URL, for the error.
        """
        for option, name in (("schema", self.schema), ("prefix", self.prefix)):
            if name and not _NAME.fullmatch(name):
                raise ImproperlyConfigured(
                    f"{option}={name} in {shown_url} must be a name of up to 40 letters, digits and underscores"
                )
