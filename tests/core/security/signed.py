"""A message, signing keys, and codecs that sign with these keys, for tests."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.security.policy import Security
from taskq_cloud.core.security.signing import MessageSigning, key_from_text

NOW = datetime.now(UTC)


def hmac_text() -> str:
    return "hmac:" + base64.b64encode(secrets.token_bytes(32)).decode()


def ed25519_text() -> str:
    return "ed25519:" + base64.b64encode(secrets.token_bytes(32)).decode()


HMAC, OTHER_HMAC, ED25519 = hmac_text(), hmac_text(), ed25519_text()


def signing_codec(
    *keys: str,
    now: float = NOW.timestamp(),
    clock: Callable[[], float] | None = None,
    max_age: float | None = None,
    **options: Any,
) -> Codec:
    signing = MessageSigning([key_from_text(key) for key in keys], max_age)
    unsigned = options.pop("accept_unsigned", ())
    security = Security(clock=clock or (lambda: now), signing=signing, accept_unsigned=unsigned)
    return Codec(security=security, **options)


SENT = Message(
    task="shop.pay",
    id="4cc7438e-afd4-4f8f-a2f3-f46567e7ca77",
    args=[1, "Łódź", 1.5],
    kwargs={"c": [True, None]},
    embed=Embed(callbacks=[{"task": "next"}]),
    eta=NOW,
    expires=NOW + timedelta(hours=1),
    root_id="root",
    origin="gen1@host",
    argsrepr="...",
    kwargsrepr="...",
    stamps={"tenant": "acme"},
    headers={"x-tenant": "acme", "x-numbers": {"1": 1.0}},
)
