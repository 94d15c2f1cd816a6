"""Asks ECS not to end the worker's container, for scaling in or for a deployment, while a long task runs in it.

The request goes to the container agent, at ``$ECS_AGENT_URI/task-protection/v1/state`` ("Amazon ECS task scale-in
protection endpoint"). It is a courtesy and no safeguard: ECS may refuse it, Spot capacity and a host's end know nothing
of it, and the message of a task that is cut off comes back all the same. So nothing here fails a task or holds one up.

A task that ends within the shutdown timeout needs none of this, as a worker that is told to stop lets it end. Were such
tasks protected, a worker that is never idle would never let a deployment come to its end.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from taskq_cloud.core.backoff import growing_delay

logger = logging.getLogger("taskq_cloud.worker")

LOOK_SECONDS: Final = 1.0
EXPIRES_MINUTES: Final = 10
"""How long a protection holds that is not renewed: a worker that hangs keeps its container for no longer."""
RENEW_SECONDS: Final = EXPIRES_MINUTES * 60 / 2
LINGER_SECONDS: Final = 60.0
"""How long it is kept when no long task runs any more: the next one may be under way already."""
ANSWER_SECONDS: Final = 5.0
"""How long an answer is waited for; the agent itself gives ECS four seconds (amazon-ecs-agent, ecsCallTimeout)."""
LAST_ANSWER_SECONDS: Final = 1.0
"""At shutdown: the container ends anyway, and its protection with it."""
FIRST_PAUSE_SECONDS: Final = 5
LONGEST_PAUSE_SECONDS: Final = 300
LONGEST_ANSWER_BYTES: Final = 65_536


class Protection:
    """The protection of this container.

    Args:
        agent_uri: what ECS names ``ECS_AGENT_URI``, such as ``http://169.254.170.2/api/...``; None: there is no agent.
        after_seconds: how long a task has run when it counts as long.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, agent_uri: str | None, after_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._agent_uri = agent_uri
        self._after_seconds = after_seconds
        self._clock = clock
        self._runs: dict[object, float] = {}
        self._long_at = self._asked_at = self._until = self._try_at = float("-inf")
        self._failures = 0

    @contextmanager
    def run(self) -> Iterator[None]:
        """A task runs in this block."""
        key = object()
        self._runs[key] = self._clock()
        try:
            yield
        finally:
            del self._runs[key]

    async def keep(self) -> None:
        """Ask for protection, renew it and give it up as tasks need it, for as long as this is not cancelled."""
        while self._agent_uri is not None:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask for what is due now, if anything is."""
        now = self._clock()
        long = any(now - began >= self._after_seconds for began in self._runs.values())
        if long:
            self._long_at = now
        if now < self._try_at:
            return
        protected = now < self._until
        if long and (not protected or now - self._asked_at >= RENEW_SECONDS):
            await self._ask(enabled=True, timeout=ANSWER_SECONDS)
        elif protected and not long and now - self._long_at >= LINGER_SECONDS:
            await self._ask(enabled=False, timeout=ANSWER_SECONDS)

    async def stop(self) -> None:
        """Give it up: the worker ends."""
        if self._clock() < self._until:
            await self._ask(enabled=False, timeout=LAST_ANSWER_SECONDS)

    async def _ask(self, *, enabled: bool, timeout: float) -> None:  # noqa: ASYNC109 - the caller knows how long it has
        now = self._clock()
        wanted: dict[str, Any] = {"ProtectionEnabled": enabled}
        if enabled:
            wanted["ExpiresInMinutes"] = EXPIRES_MINUTES
        try:
            async with asyncio.timeout(timeout):
                status, answer = await _put(f"{self._agent_uri}/task-protection/v1/state", wanted)
            problem = _problem(status, answer, enabled)
        except TimeoutError:
            problem = f"no answer within {timeout:.0f} s"
        except (OSError, ValueError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            self._failed(enabled, problem)
            return
        until = now + EXPIRES_MINUTES * 60 if enabled else float("-inf")
        if enabled != (now < self._until):
            text = (
                "ECS keeps this container: a long task runs" if enabled else "ECS need not keep this container any more"
            )
            logger.info(text, extra={"action": "protection.changed"})
        self._asked_at, self._until, self._failures = now, until, 0

    def _failed(self, enabled: bool, problem: str) -> None:
        self._failures += 1
        pause = growing_delay(self._failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._try_at = self._clock() + pause
        if self._failures > 1:
            return  # it has been said
        logger.warning(
            "ECS can't be asked %s this container: %s; tried again until it can. It takes ecs:UpdateTaskProtection in "
            "the container's role, and an ECS service; worker_task_protection=False asks for nothing",
            "to keep" if enabled else "to let go of",
            problem,
            extra={"action": "protection.failed"},
        )


def _problem(status: int, answer: Any, enabled: bool) -> str | None:
    """Why an answer of the agent is none that was wanted. What ECS refuses, the agent may report with status 200."""
    found = answer if isinstance(answer, dict) else {}
    parts = [found.get(key) for key in ("protection", "failure", "error")]
    protection, failure, error = (part if isinstance(part, dict) else {} for part in parts)
    if failure:
        return f"{failure.get('Reason')}: {failure.get('Detail')}"
    if error:
        return f"{error.get('Code')}: {error.get('Message')}"
    if status == http.HTTPStatus.OK and protection.get("ProtectionEnabled") is enabled:
        return None
    return f"the agent answered {status} {json.dumps(answer)[:200]}"


class _Answered:
    """What ``HTTPResponse`` reads from: an answer that has come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


async def _put(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    """PUT a JSON object on the loop, where it can be cancelled: a thread in a call would hold up the process's end."""
    target = urlsplit(url)
    if target.scheme != "http" or target.hostname is None:
        raise ValueError(f"ECS_AGENT_URI is no http:// address: {url!r}")
    data = json.dumps(body).encode()
    head = (
        f"PUT {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    try:
        writer.write(head.encode("ascii") + data)
        await writer.drain()
        answered = bytearray()
        while chunk := await reader.read(LONGEST_ANSWER_BYTES):
            answered += chunk
            if len(answered) > LONGEST_ANSWER_BYTES:
                raise ValueError(f"the answer is longer than {LONGEST_ANSWER_BYTES} bytes")
    finally:
        writer.close()
    response = http.client.HTTPResponse(_Answered(bytes(answered)), method="PUT")  # type: ignore[arg-type]
    response.begin()
    return response.status, json.loads(response.read())
