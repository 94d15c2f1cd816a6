"""The place of replies in a message, and in the signatures of the tasks that follow it, where Celery has it."""

from __future__ import annotations

from collections.abc import Sequence

from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Message, Signature


def with_reply_to(message: Message, reply_to: str) -> Message:
    """Let the records of a message's task, and of those that follow it, be sent to its caller.

    Args:
        message: the message.
        reply_to: the place where the caller waits: see ``records.replies``.
    """
    embed = message.embed
    if embed.chain or embed.callbacks:
        chain, callbacks = _signatures(embed.chain, reply_to), _signatures(embed.callbacks, reply_to)
        embed = replace(embed, chain=chain, callbacks=callbacks)
    return replace(message, reply_to=reply_to, embed=embed)


def _signatures(signatures: Sequence[Signature] | None, reply_to: str) -> Sequence[Signature] | None:
    if not signatures:
        return signatures
    # A signature that names a place keeps it.
    return [{**each, "options": {"reply_to": reply_to, **(each.get("options") or {})}} for each in signatures]
