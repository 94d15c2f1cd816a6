"""Hands a message's marks on to those that follow it: the place of replies, where Celery has it, and ``unsigned``."""

from __future__ import annotations

from collections.abc import Sequence

from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Message, Signature


def handed_on(message: Message, before: Message) -> Message:
    """Return a message that follows another one: unsigned if that is unsigned, and with the place of its replies.

    Args:
        message: the message that follows.
        before: the message of the task that it follows, whose caller waits for the whole workflow.
    """
    if before.unsigned and not message.unsigned:
        message = replace(message, unsigned=True)
    return with_reply_to(message, before.reply_to) if before.reply_to and message.reply_to is None else message


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
