"""What a push endpoint is told, checked before the first request comes."""

from __future__ import annotations

from collections.abc import Sequence

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS
from taskq_cloud.serverless.oidc import GOOGLE_KEYS_URL, KeySet, TokenVerifier
from taskq_cloud.serverless.pubsub_push import DEADLINE_SECONDS, Push, PushEndpoint


def make_endpoint(
    runtime: Runtime,
    audience: str | Sequence[str],
    service_account: str | Sequence[str],
    deadline_seconds: float,
    clock_skew_seconds: float,
    keys_url: str | None,
) -> PushEndpoint:
    """The endpoint; the arguments are those of ``TaskQ.pubsub_push_handler``.

    Raises:
        ImproperlyConfigured: one of them is wrong.
    """
    audiences, accounts = _several("audience", audience), _several("service_account", service_account)
    if not ANSWER_MARGIN_SECONDS < deadline_seconds <= DEADLINE_SECONDS:
        raise ImproperlyConfigured(
            f"pubsub_push_handler: deadline_seconds is more than {ANSWER_MARGIN_SECONDS:g} and at most "
            f"{DEADLINE_SECONDS}, a subscription's longest acknowledgement deadline, not {deadline_seconds!r}"
        )
    verifier = TokenVerifier(KeySet(keys_url or GOOGLE_KEYS_URL), audiences, accounts, clock_skew_seconds)
    return PushEndpoint(Push(runtime, verifier, deadline_seconds))


def _several(name: str, given: str | Sequence[str]) -> list[str]:
    values = [given] if isinstance(given, str) else list(given)
    if not values or not all(values):
        raise ImproperlyConfigured(
            f"pubsub_push_handler: {name} is empty, and a push is answered only to whom it names: give the "
            "subscription's --push-auth-token-audience and --push-auth-service-account"
        )
    return values
