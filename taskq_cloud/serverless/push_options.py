"""Check the options of a push endpoint before the first request, and make the endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Required, TypedDict

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS
from taskq_cloud.serverless.oidc import GOOGLE_KEYS_URL, KeySet, TokenVerifier
from taskq_cloud.serverless.pubsub_push import DEADLINE_SECONDS, PushHandler
from taskq_cloud.serverless.push_endpoint import PushEndpoint


class PushOptions(TypedDict, total=False):
    """The options of ``TaskQ.pubsub_push_handler``.

    Attributes:
        audience: the audience of the tokens: the subscription's ``--push-auth-token-audience``, by default its URL.
        service_account: the owner of the tokens: the email of ``--push-auth-service-account``.
        deadline_seconds: the longest time of a request; at most the subscription's ``--ack-deadline``.
        clock_skew_seconds: the tolerated difference between Google's clock and this one.
        keys_url: the URL of the issuer's keys; None: Google's.
    """

    audience: Required[str | Sequence[str]]
    service_account: Required[str | Sequence[str]]
    deadline_seconds: float
    clock_skew_seconds: float
    keys_url: str | None


def make_endpoint(
    runtime: Runtime,
    *,
    audience: str | Sequence[str],
    service_account: str | Sequence[str],
    deadline_seconds: float = 600,
    clock_skew_seconds: float = 10,
    keys_url: str | None = None,
) -> PushEndpoint:
    """Check the options and make a push endpoint. ``PushOptions`` describes the options.

    Raises:
        ImproperlyConfigured: an option is wrong.
    """
    audiences, accounts = _as_list("audience", audience), _as_list("service_account", service_account)
    if not ANSWER_MARGIN_SECONDS < deadline_seconds <= DEADLINE_SECONDS:
        raise ImproperlyConfigured(
            f"pubsub_push_handler: deadline_seconds must be more than {ANSWER_MARGIN_SECONDS:g} and at most "
            f"{DEADLINE_SECONDS}, a subscription's longest acknowledgement deadline; it is {deadline_seconds!r}"
        )
    _check_acks(runtime)
    verifier = TokenVerifier(KeySet(keys_url or GOOGLE_KEYS_URL), audiences, accounts, clock_skew_seconds)
    return PushEndpoint(PushHandler(runtime, verifier, deadline_seconds))


def _check_acks(runtime: Runtime) -> None:
    policy = runtime.settings.policy(0)
    early = sorted(name for name, task in runtime.tasks.items() if not policy.acknowledges_late(task.options))
    if not policy.acks_late:
        raise ImproperlyConfigured(
            "pubsub_push_handler: task_acks_late=False is not supported, because the answer to a push acknowledges the "
            "message, and ends the request: set task_acks_late to True, or serve the queues by taskq worker"
        )
    if early:
        raise ImproperlyConfigured(
            f"pubsub_push_handler: acks_late=False of task {early[0]} is not supported, because the answer to a push "
            "acknowledges the message, and ends the request: remove the option, or serve the task's queue by taskq "
            "worker, and don't import the task where the endpoint is made"
        )


def _as_list(name: str, given: str | Sequence[str]) -> list[str]:
    values = [given] if isinstance(given, str) else list(given)
    if not values or not all(values):
        raise ImproperlyConfigured(
            f"pubsub_push_handler: {name} is empty, but it decides whose pushes are accepted: pass the values of the "
            "subscription's --push-auth-token-audience and --push-auth-service-account"
        )
    return values
