"""Ask ECS not to end the worker's container, for scaling in or for a deployment, while a long task runs in it.

The request goes to the container agent, at ``$ECS_AGENT_URI/task-protection/v1/state`` ("Amazon ECS task scale-in
protection endpoint"). It is a courtesy and not a safeguard: ECS may refuse it, Spot interruptions and the retirement of
a host ignore it, and the message of a task that is cut off comes back in any case. So no failure here fails a task or
delays it.

A task that ends within the shutdown timeout needs no protection, because a worker that is told to stop lets it end. If
such tasks were protected, a worker that is never idle would never let a deployment finish.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final
from urllib.parse import urlsplit

from taskq_cloud.core.backoff import growing_delay

logger = logging.getLogger("taskq_cloud.worker")

CHECK_SECONDS: Final = 1.0
EXPIRES_MINUTES: Final = 10
"""How long a protection lasts unless it is renewed. A worker that hangs keeps its container no longer than that."""
RENEW_SECONDS: Final = EXPIRES_MINUTES * 60 / 2
LINGER_SECONDS: Final = 60.0
"""How long the protection is kept after the last long task: another task may soon count as long."""
ANSWER_SECONDS: Final = 5.0
"""How long to wait for an answer. The agent itself gives ECS four seconds (amazon-ecs-agent, ecsCallTimeout)."""
LAST_ANSWER_SECONDS: Final = 1.0
"""How long to wait for an answer at shutdown, when the container ends anyway and its protection with it."""
FIRST_PAUSE_SECONDS: Final = 5
LONGEST_PAUSE_SECONDS: Final = 300
LONGEST_ANSWER_BYTES: Final = 65_536
_UNCOUNTED: Final = nullcontext()


class Protection:
    """The protection of this worker's container.

    Args:
        agent_uri: the value of ``ECS_AGENT_URI``, such as ``http://169.254.170.2/api/...``; None: there is no agent.
        after_seconds: a task counts as long once it has run for this many seconds.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, agent_uri: str | None, after_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._agent_uri = agent_uri
        self._after_seconds = after_seconds
        self._clock = clock
        self._runs: dict[object, float] = {}
        self._long_at = self._asked_at = self._protected_until = self._try_at = float("-inf")
        self._failures = 0

    def run(self) -> AbstractContextManager[None]:
        """Count the block as the run of a task."""
        return _UNCOUNTED if self._agent_uri is None else self._counted()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        key = object()
        self._runs[key] = self._clock()
        try:
            yield
        finally:
            del self._runs[key]

    async def check_forever(self) -> None:
        """Request, renew and end the protection as the tasks need it, until this call is cancelled."""
        while self._agent_uri is not None:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Send the request that is due now, if one is due."""
        now = self._clock()
        long = any(now - began >= self._after_seconds for began in self._runs.values())
        if long:
            self._long_at = now
        if now < self._try_at:
            return
        protected = now < self._protected_until
        if long and (not protected or now - self._asked_at >= RENEW_SECONDS):
            await self._ask(enabled=True, answer_seconds=ANSWER_SECONDS)
        elif protected and not long and now - self._long_at >= LINGER_SECONDS:
            await self._ask(enabled=False, answer_seconds=ANSWER_SECONDS)

    async def stop(self) -> None:
        """End the protection, because the worker ends."""
        if self._clock() < self._protected_until:
            await self._ask(enabled=False, answer_seconds=LAST_ANSWER_SECONDS)

    async def _ask(self, *, enabled: bool, answer_seconds: float) -> None:
        now = self._clock()
        wanted: dict[str, Any] = {"ProtectionEnabled": enabled}
        if enabled:
            wanted["ExpiresInMinutes"] = EXPIRES_MINUTES
        try:
            async with asyncio.timeout(answer_seconds):
                status, answer = await _put(f"{self._agent_uri}/task-protection/v1/state", wanted)
            problem = _problem(status, answer, enabled)
        except TimeoutError:
            problem = f"no answer within {answer_seconds:.0f} s"
        except (OSError, ValueError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            self._failed(enabled, problem)
            return
        until = now + EXPIRES_MINUTES * 60 if enabled else float("-inf")
        if enabled != (now < self._protected_until):
            text = (
                "ECS protects this container, because a long task runs in it"
                if enabled
                else "ECS no longer protects this container, because no long task runs in it"
            )
            logger.info(text, extra={"action": "protection.changed"})
        self._asked_at, self._protected_until, self._failures = now, until, 0

    def _failed(self, enabled: bool, problem: str) -> None:
        self._failures += 1
        pause = growing_delay(self._failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._try_at = self._clock() + pause
        if self._failures > 1:
            return  # it has been logged
        logger.warning(
            "the request to %s the protection of this container failed, and will be tried again: %s. Protection needs "
            "ecs:UpdateTaskProtection in the container's role, and an ECS service; worker_task_protection=False turns "
            "it off",
            "start" if enabled else "end",
            problem,
            extra={"action": "protection.failed"},
        )


def _problem(status: int, answer: Any, enabled: bool) -> str | None:
    """Return why the agent's answer isn't a success, or None. The agent may report a refusal by ECS with status 200."""
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


class _ReceivedAnswer:
    """A complete answer, in the place of the socket that ``HTTPResponse`` reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


async def _put(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    """PUT a JSON object, on the event loop. There it can be cancelled; a thread would delay the end of the process.

    Raises:
        ValueError: the address isn't an ``http://`` address, or the answer is too long or isn't JSON.
        OSError: the agent can't be reached.
        http.client.HTTPException: the answer isn't HTTP.
    """
    target = urlsplit(url)
    if target.scheme != "http" or target.hostname is None:
        raise ValueError(f"ECS_AGENT_URI isn't an http:// address: {url!r}")
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
    response = http.client.HTTPResponse(_ReceivedAnswer(bytes(answered)), method="PUT")  # type: ignore[arg-type]
    response.begin()
    return response.status, json.loads(response.read())
