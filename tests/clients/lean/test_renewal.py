"""Tests of credentials that the SDK renews, and that requests of the lean driver are signed with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud.clients import aws
from taskq_cloud.core.flows import Call, CallError, Trouble
from tests.clients.lean.test_faults import ANSWER, GET, Server, answering


@pytest.fixture
def server(aws_environment: dict[str, str]) -> Iterator[Server]:
    server = Server(answering(ANSWER))
    yield server
    server.close()


def set_keys(monkeypatch: pytest.MonkeyPatch, access_key: str, minutes: float) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-of-{access_key}")
    expiry = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", expiry.isoformat())


@pytest.fixture(params=["sync", "async"])
async def ask(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Makes a call with a client whose credentials expire in five minutes: the SDK looks for newer ones by then."""
    set_keys(monkeypatch, "first", 5)
    options = {"region": "eu-west-1", "endpoint_url": server.url}
    if request.param == "sync":
        client = aws.open_client("dynamodb", options)
        assert client._lean is not None

        async def in_thread(call: Call) -> Any:
            return await asyncio.to_thread(client.call, call)

        yield in_thread
        client.close()
    else:
        on_loop = await aws.open_async_client("dynamodb", options)
        assert on_loop._lean is not None
        yield on_loop.call
        await on_loop.close()


def keys_of(server: Server) -> list[tuple[str, str]]:
    found = []
    for request in server.requests:
        text = request.decode("latin-1")
        assert "User-Agent: taskq-cloud" in text
        key, token = re.search(r"Credential=(\w+)/", text), re.search(r"X-Amz-Security-Token: (\S+)", text)
        assert key is not None
        assert token is not None
        found.append((key[1], token[1]))
    return found


async def test_renewed_credentials_sign_the_next_request(
    ask: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(GET)
    set_keys(monkeypatch, "second", 60)
    await ask(GET)
    assert keys_of(server) == [("first", "token-of-first"), ("second", "token-of-second")]


async def test_credentials_that_cannot_be_renewed_are_missing_credentials(
    ask: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_keys(monkeypatch, "old", -5)
    for missing in ((), ("AWS_SECRET_ACCESS_KEY",)):
        for name in missing:
            monkeypatch.delenv(name)
        with pytest.raises(CallError, match="set AWS_ACCESS_KEY_ID") as caught:
            await ask(GET)
        assert caught.value.trouble is Trouble.CREDENTIALS
    assert server.requests == []
