"""Handle a push: Pub/Sub posts a message, the task runs, and the status code tells Pub/Sub what to do next.

The handler knows no server: ``push_endpoint`` connects it to WSGI and ASGI servers. A request without a valid token of
the expected service account runs nothing.

========================================  ======  ====================================================
request, or the pipeline's settlement     answer  Pub/Sub's reaction
========================================  ======  ====================================================
acknowledged; dead-lettered               204     forgets the message
given back; dead letter not accepted      503     pushes the message again, by its retry policy
not a push, or a malformed push           400     pushes again, until the dead-letter policy applies
no token, or an invalid token             401     pushes again, until the dead-letter policy applies
a token of, or for, somebody else         403     pushes again, until the dead-letter policy applies
========================================  ======  ====================================================

A request may take ``deadline_seconds``, which must not exceed the subscription's acknowledgement deadline. A task whose
time limit does not fit is not started; a task without a time limit gets the time that is left. A server's request
threads can't be interrupted, so tasks run in threads of the endpoint's own, as in the worker's threads pool: if the
limit passes while a task runs C code, the task goes on and its outcome is dropped. The server's concurrency decides how
many tasks run at a time. If the server ends a request before its answer, the run is ended like at its limit, and the
message is given back.

Sources: Pub/Sub documentation, "Push subscriptions", "Authenticate push subscriptions".
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from taskq_cloud.core.flows import retrying, run
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Admitted, Invocation
from taskq_cloud.core.ports import KnowsPhysicalNames
from taskq_cloud.errors import DecodeError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless import push_envelope, starting
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS, LEAST_RUN_SECONDS, needed_seconds, reject
from taskq_cloud.serverless.oidc import Forbidden, KeysUnavailable, TokenError, TokenVerifier
from taskq_cloud.serverless.push_threads import RequestEnd, TaskThreads

logger = logging.getLogger("taskq_cloud.serverless")

DEADLINE_SECONDS: Final = 600
"""The longest acknowledgement deadline of a push subscription (Pub/Sub documentation, "Push subscriptions")."""

LARGEST_REQUEST_BYTES: Final = 16_000_000
"""Enough for a message of 10 MB in base64 with its envelope."""

MOST_REQUESTS: Final = 1_000
"""The highest concurrency of a Cloud Run instance (Cloud Run documentation, "Maximum concurrent requests")."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: a status, and a line of text for a person who reads it."""

    status: HTTPStatus
    text: str = ""


GIVEN_BACK: Final = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "given back")


class PushHandler:
    """Handles a push request, whichever server received it. Threads may share a handler.

    Args:
        runtime: the application's runtime.
        verifier: decides who may push.
        deadline_seconds: how long a request may take.
    """

    def __init__(self, runtime: Runtime, verifier: TokenVerifier, deadline_seconds: float) -> None:
        self._runtime = runtime
        self._verifier = verifier
        self._deadline_seconds = deadline_seconds
        self._tasks = TaskThreads("push", runtime, MOST_REQUESTS)
        self._starting = threading.Lock()
        self._started_in = 0

    def refusal(self, method: str, headers: Mapping[str, str], size: int) -> Answer | None:
        """Return the answer to a request that must not be read, or None if the request may be read."""
        try:
            self._verifier.verify(headers.get("authorization"))
        except TokenError as error:
            logger.warning("a push was refused: %s", error, extra={"action": "push.refused"})
            match error:
                case Forbidden():
                    return Answer(HTTPStatus.FORBIDDEN, "this token may not push here")
                case KeysUnavailable():
                    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "tokens can't be verified now")
            return Answer(HTTPStatus.UNAUTHORIZED, "no valid token")
        if method != "POST":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "a push must be a POST request")
        if size > LARGEST_REQUEST_BYTES:
            return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a push has at most {LARGEST_REQUEST_BYTES} bytes")
        return None

    def answer(self, headers: Mapping[str, str], body: bytes, end: RequestEnd | None = None) -> Answer:
        """Run the task of a request that ``refusal`` let through.

        Args:
            headers: the request's headers, by their names in lower case.
            body: the request's body.
            end: tells that the server has ended the request, if the server can do that while this method runs.
        """
        ends_at = time.monotonic() + self._deadline_seconds
        if self._runtime.runner.hooks:
            self._tell_started()
        try:
            delivery = push_envelope.read(headers, body, self._queue_named)
        except DecodeError as error:
            # The sender is at fault, so a traceback would not help.
            logger.error("a push could not be read: %s", error, extra={"action": "push.malformed"})  # noqa: TRY400
            return Answer(HTTPStatus.BAD_REQUEST, "not a Pub/Sub push")
        try:
            settlement = run(
                retrying(self._runtime.pipeline.process(delivery)), lambda step: self._perform(step, ends_at, end)
            )
        except Exception as error:  # the pipeline has let it through
            settlement = self._runtime.pipeline.crashed(delivery, error)
        return self._settle(settlement)

    def close(self) -> None:
        """End the threads."""
        self._tasks.close()

    def _tell_started(self) -> None:
        """Tell hooks of the first request in this process: the server may have forked it from the one that began."""
        with self._starting:
            if self._started_in != os.getpid():
                self._started_in = os.getpid()
                starting.tell_hooks(self._runtime, "function_started")

    def _queue_named(self, subscription: str) -> str:
        broker = self._runtime.broker
        if isinstance(broker, KnowsPhysicalNames):
            return broker.queue_named(subscription)
        return subscription.rpartition("/")[2]

    def _perform(self, step: Any, ends_at: float, end: RequestEnd | None = None) -> Any:
        if not isinstance(step, Invocation):
            return Admitted(os.getpid()) if isinstance(step, Admission) else self._runtime.connections.perform(step)
        whole_seconds = self._deadline_seconds - ANSWER_MARGIN_SECONDS
        if needed_seconds(step) > whole_seconds:
            margin = f"{ANSWER_MARGIN_SECONDS:g} s are kept for the answer"
            available = f"a push must be answered within {self._deadline_seconds:g} s, of which {margin}"
            remedy = "raise the endpoint's deadline_seconds, to 600 at most, and the subscription's --ack-deadline"
            return reject(step, available, remedy, self._runtime.settings.task_max_receives)
        left_seconds = max(0.0, ends_at - ANSWER_MARGIN_SECONDS - time.monotonic())
        if left_seconds < min(LEAST_RUN_SECONDS, whole_seconds / 2):
            # A slow store or broker has used up the time. A run started now would be cut off, and the task would even
            # fail if the broker doesn't count receives.
            return Abandoned(f"the push has {left_seconds:.1f} s left for its task")
        return self._tasks.run(step, left_seconds, end)

    def _settle(self, settlement: Settlement) -> Answer:
        match settlement:
            case Acknowledge():
                return Answer(HTTPStatus.NO_CONTENT)
            case DeadLetter(delivery):
                return self._dead_letter(settlement, delivery)
        return GIVEN_BACK

    def _dead_letter(self, settlement: Settlement, delivery: Delivery) -> Answer:
        try:
            [refused] = self._runtime.connections.run(self._runtime.broker.settle([settlement]))
            error = refused.error if refused else None
        except Exception as failure:  # whatever has failed, the message comes back
            error = failure
        if error is None:
            return Answer(HTTPStatus.NO_CONTENT)
        extra = {"action": "push.settle_failed", "queue": delivery.queue, "message_id": delivery.message_id}
        logger.error(
            "message %s of queue %s could not be dead-lettered, and is given back: %s",
            delivery.message_id,
            delivery.queue,
            error,
            extra=extra,
        )
        return GIVEN_BACK
