"""The names of the tasks that every application has, which are Celery's where Celery has them."""

from __future__ import annotations

from typing import Final

CHAIN: Final = "celery.chain"
GROUP: Final = "celery.group"
CHORD: Final = "celery.chord"
CHUNKS: Final = "celery.chunks"
MAP: Final = "celery.map"
STARMAP: Final = "celery.starmap"
ACCUMULATE: Final = "celery.accumulate"

FAN_OUT: Final = "taskq.fan_out"
"""The built-in task that sends the members of a large group: a message for each page, then the members of a page."""

BUILT_IN: Final = frozenset({CHAIN, GROUP, CHORD, CHUNKS, FAN_OUT})
"""The names of tasks that no function runs: they stand for workflows, or the pipeline carries them out."""

EVERY_TASK: Final = ""
"""Stands for all tasks where a table has entries for single ones; no task has this name."""
