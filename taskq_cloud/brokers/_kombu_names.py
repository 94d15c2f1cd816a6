"""Queue names as kombu writes them, so that this package and Celery use the same queues and topics."""

from __future__ import annotations

import string
from typing import Final

from taskq_cloud.core.model.capabilities import is_ordered

_REPLACEMENTS: Final = {ord(sign): "_" for sign in string.punctuation if sign not in "-_."} | {ord("."): "-"}


def canonical_name(name: str) -> str:
    """Write a queue's name as kombu does, for SQS and for Pub/Sub: ``a.b/c.fifo`` becomes ``a-b_c.fifo``."""
    stem, suffix = (name.removesuffix(".fifo"), ".fifo") if is_ordered(name) else (name, "")
    return stem.translate(_REPLACEMENTS) + suffix
