"""Test the tokens of push requests: which of them are accepted, and when the issuer's keys are fetched."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from taskq_cloud import TaskQ
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.serverless.oidc import Forbidden, KeySet, KeysUnavailable, TokenVerifier, Unauthenticated
from taskq_cloud.testing.clock import FakeClock
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushing import (
    ACCOUNT,
    AUDIENCE,
    SUBSCRIPTION,
    Issuer,
    envelope,
    post,
    served_by_wsgi,
)


def test_push_with_valid_token_runs_its_task(push: Callable[..., int], app: TaskQ, ran: list[Any]) -> None:
    assert push("add", 1) == 204
    assert push("aadd", 2, task_id="t-2") == 204
    assert ran == [1, 2]
    assert (app.AsyncResult("t-1").get(timeout=5), app.AsyncResult("t-2").get(timeout=5)) == (1, 2)


def _signed_with_a_public_key(issuer: Issuer) -> str:
    """Return a token that a careless verifier accepts: signed with the issuer's public key as a shared secret."""
    public = issuer.keys[issuer.key_id].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.key_id}
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, issuer.claims())]
    signed = b".".join(parts)
    return b".".join((signed, jwt.utils.base64url_encode(hmac.digest(pem, signed, "sha256")))).decode()


def _altered(issuer: Issuer) -> str:
    head, _, tail = issuer.token().split(".")
    body = jwt.utils.base64url_encode(json.dumps(issuer.claims(exp=9_999_999_999)).encode()).decode()
    return f"{head}.{body}.{tail}"


FORGED: dict[str, Callable[[Issuer], str | None]] = {
    "missing": lambda _: None,
    "no token": lambda _: "x.y.z",
    "unsigned": lambda issuer: jwt.encode(issuer.claims(), "", "none", headers={"kid": issuer.key_id}),
    "a public key as a secret": _signed_with_a_public_key,
    "altered": _altered,
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 30),
    "from the future": lambda issuer: issuer.token(iat=int(time.time()) + 60),
    "without an end": lambda issuer: issuer.token(exp=None),
    "without an audience": lambda issuer: issuer.token(aud=None),
    "another issuer": lambda issuer: issuer.token(iss="https://accounts.example.com"),
    "a stranger's key": lambda issuer: jwt.encode(
        issuer.claims(), _strangers_key(), "RS256", headers={"kid": issuer.key_id}
    ),
    "an unknown key": lambda issuer: jwt.encode(
        issuer.claims(), _strangers_key(), "RS256", headers={"kid": "stranger"}
    ),
}
NOT_FOR_US: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://other.example.com/push"},
    "another account": {"email": "someone@my-project.iam.gserviceaccount.com"},
    "no account": {"email": None},
    "an unverified account": {"email_verified": False},
    "an account verified in words": {"email_verified": "true"},
}


def _strangers_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize("forged", FORGED)
def test_push_without_valid_token_runs_no_task(
    url: str, issuer: Issuer, ran: list[Any], server: PubSubServer, forged: str
) -> None:
    body = envelope(json.dumps({"task": "add", "args": [1]}), SUBSCRIPTION)
    status, text = post(url, body, FORGED[forged](issuer))
    assert (status, text) == (401, "no valid token")
    assert ran == []
    assert not server.calls


@pytest.mark.parametrize("claims", NOT_FOR_US)
def test_token_of_another_audience_or_account_runs_no_task(
    url: str, issuer: Issuer, ran: list[Any], claims: str
) -> None:
    body = envelope(json.dumps({"task": "add", "args": [1]}), SUBSCRIPTION)
    status, text = post(url, body, issuer.token(**NOT_FOR_US[claims]))
    assert (status, text) == (403, "this token may not push here")
    assert ran == []


def test_token_is_accepted_when_clocks_differ_a_little(url: str, issuer: Issuer, ran: list[Any]) -> None:
    now = int(time.time())
    for number, claims in enumerate(({"exp": now - 4}, {"iat": now + 6})):
        body = envelope(json.dumps({"task": "add", "id": f"t-{number}", "args": [number]}), SUBSCRIPTION)
        assert post(url, body, issuer.token(**claims))[0] == 204
    assert ran == [0, 1]


def verifier(issuer: Issuer, clock: FakeClock) -> TokenVerifier:
    return TokenVerifier(KeySet(issuer.url, clock), [AUDIENCE], [ACCOUNT], 10)


def test_keys_are_fetched_once_and_again_for_a_new_key() -> None:
    issuer, clock = Issuer(), FakeClock()
    try:
        verify = verifier(issuer, clock).verify
        for _ in range(5):
            verify(f"Bearer {issuer.token()}")
        assert issuer.fetched == 1
        issuer.rotate("second")
        clock.advance(61)
        verify(f"bearer {issuer.token()}")
        assert issuer.fetched == 2
    finally:
        issuer.close()


def test_made_up_key_ids_cause_no_fetches() -> None:
    issuer, clock = Issuer(), FakeClock()
    try:
        verify = verifier(issuer, clock).verify
        verify(f"Bearer {issuer.token()}")
        key = _strangers_key()
        for number in range(20):
            made_up = jwt.encode(issuer.claims(), key, "RS256", headers={"kid": str(number)})
            with pytest.raises(Unauthenticated):
                verify(f"Bearer {made_up}")
        assert issuer.fetched == 1
        issuer.failing = True
        clock.advance(7200)
        verify(f"Bearer {issuer.token()}")  # the old keys still count
        with pytest.raises(Forbidden):
            verify(f"Bearer {issuer.token(aud='other')}")
    finally:
        issuer.close()


def test_truncated_key_answer_leaves_the_old_keys() -> None:
    issuer, clock = Issuer(), FakeClock()
    try:
        verify = verifier(issuer, clock).verify
        verify(f"Bearer {issuer.token()}")
        issuer.breaks_off = True
        clock.advance(7200)
        verify(f"Bearer {issuer.token()}")
        assert issuer.fetched == 2
    finally:
        issuer.close()


def test_slow_failing_key_fetch_is_not_repeated_at_once() -> None:
    issuer, clock = Issuer(), FakeClock()
    issuer.failing, issuer.on_fetch = True, lambda: clock.advance(5)
    try:
        verify = verifier(issuer, clock).verify
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                verify(f"Bearer {issuer.token()}")
        assert issuer.fetched == 1
    finally:
        issuer.close()


def test_push_without_keys_is_answered_503(app: TaskQ, ran: list[Any]) -> None:
    issuer = Issuer()
    issuer.failing = True
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    body = envelope(json.dumps({"task": "add", "args": [1]}), SUBSCRIPTION)
    with served_by_wsgi(endpoint) as url:
        assert post(url, body, issuer.token())[0] == 503
    endpoint.close()
    issuer.close()
    assert ran == []


@pytest.mark.parametrize(
    "wrong", [{"audience": ""}, {"service_account": []}, {"deadline_seconds": 601}, {"deadline_seconds": 1}]
)
def test_invalid_endpoint_option_raises_at_once(app: TaskQ, wrong: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"pubsub_push_handler: {next(iter(wrong))}"):
        app.pubsub_push_handler(**{"audience": AUDIENCE, "service_account": ACCOUNT, **wrong})


def test_task_that_is_acknowledged_before_its_run_cannot_be_pushed(app: TaskQ) -> None:
    app.task(name="early", acks_late=False)(lambda: None)
    with pytest.raises(ImproperlyConfigured, match="acks_late=False of task early is not supported"):
        app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT)


def test_setting_that_acknowledges_before_the_run_is_refused_for_pushes() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://", task_acks_late=False)
    with pytest.raises(ImproperlyConfigured, match="task_acks_late=False is not supported"):
        app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT)
