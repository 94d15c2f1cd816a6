"""A result backend for Celery over our result stores: Celery's workers and taskq workers share results and workflows.

A Celery application uses the backend with ``result_backend = "taskq+dynamodb://table"``: ``taskq+`` and the URL in
``TASKQ_RESULTS``. The stores' rules hold for Celery's results, too: a final state is never replaced. The body of a
chord that Celery makes states how many members the header has. The worker that ends the last member joins the chord.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

from celery import Celery, states
from celery.app.task import Context
from celery.backends.base import BaseBackend
from celery.exceptions import ImproperlyConfigured as CeleryImproperlyConfigured
from celery.exceptions import Reject, TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import result_from_tuple
from celery.utils.log import get_task_logger

from taskq_cloud.app import TaskQ
from taskq_cloud.celery_backend import fan_out
from taskq_cloud.celery_backend.chords import context_of
from taskq_cloud.core.execution import consequences
from taskq_cloud.core.execution.context import PipelineFlow
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Settlement
from taskq_cloud.core.model.options import Policy
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.core.workflows import saved_groups
from taskq_cloud.core.workflows.chord_members import check_store_counts_members
from taskq_cloud.errors import BodyPending, ImproperlyConfigured, OperationalError
from taskq_cloud.results.waiting import deadline_after

logger = get_task_logger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS: Final = 30
"""How long one of Celery's workers waits, at the end of a chord member, for a store or a broker that doesn't answer.
The worker runs no other task meanwhile."""

PAGE_RESULTS: Final = 500
"""How many results one read asks for."""


class TaskQBackend(BaseBackend):  # type: ignore[misc]  # Celery has no types
    """The backend for ``taskq+dynamodb://table``, and for every other store that processes can share.

    Args:
        app: Celery's application.
        url: the store's URL, without ``taskq+``.
        options: the other options of Celery's backends.

    Raises:
        celery.exceptions.ImproperlyConfigured: no store has the URL's scheme, processes can't share the store, or
            ``result_serializer`` isn't ``json``.
    """

    supports_autoexpire = True
    supports_native_join = True

    def __init__(self, app: Celery, url: str | None = None, **options: Any) -> None:
        super().__init__(app, url=url, **options)
        if self.serializer != "json":
            raise CeleryImproperlyConfigured(
                f"result_serializer={self.serializer!r} is not supported: taskq workers read and write 'json'; set it "
                "to 'json'"
            )
        if not url or url.startswith("taskq:"):
            raise CeleryImproperlyConfigured(
                "result_backend doesn't name a store: write taskq+ and the URL in TASKQ_RESULTS, such as "
                "taskq+dynamodb://my-table"
            )
        # This application only provides the store and its connections; it sends and receives no messages.
        self._taskq = TaskQ(
            app.main,
            broker="memory://",
            results=url,
            result_compression=app.conf.get("result_compression") or None,
            result_backend_transport_options=dict(app.conf.get("result_backend_transport_options") or {}),
        )
        try:
            capabilities = self._taskq.store.capabilities
        except ImproperlyConfigured as error:
            raise CeleryImproperlyConfigured(f"result_backend: {error}") from error
        if not (capabilities.keeps_records and capabilities.shared_between_processes):
            raise CeleryImproperlyConfigured(
                f"result_backend: workers can't share {without_secrets(url)}; use the URL in TASKQ_RESULTS, such as "
                "taskq+dynamodb://my-table"
            )
        fan_out.register(app)

    def prepare_compression(self, compression: str | None) -> None:
        """The store compresses the results, and not Celery."""

    def __reduce__(self, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return super().__reduce__(args, {"url": self.url, "expires": self.expires, **(kwargs or {})})

    def as_uri(self, include_password: bool = False) -> str:
        """The URL in the form of ``result_backend``, without secrets unless ``include_password`` is set."""
        return f"taskq+{self.url if include_password else without_secrets(self.url)}"

    # -- results

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = task_id
        version = version_of(state, getattr(request, "retries", None) or 0)
        record = Record(task_id, state, version, self.encode(meta), self._expires_at())
        self._run(self._taskq.store.save([record]))
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return self._load([task_id]).get(task_id) or {"status": states.PENDING, "result": None}

    def get_many(  # noqa: PLR0917 - Celery's signature
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float | None = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        max_iterations: int | None = None,
        READY_STATES: frozenset[str] = states.READY_STATES,  # noqa: N803
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield results as they become ready; one read asks for up to 500 missing results.

        The arguments are those of Celery's key-value backends.

        Raises:
            celery.exceptions.TimeoutError: some results are still missing after ``timeout`` seconds.
        """
        deadline = deadline_after(timeout)
        missing, looks = set(task_ids), 0
        while missing:
            ready = {k: meta for k, meta in self._load(sorted(missing)).items() if meta["status"] in READY_STATES}
            missing -= ready.keys()
            for task_id, meta in ready.items():
                self._cache[task_id] = meta
                if on_message is not None:
                    on_message(meta)
                yield task_id, meta
            looks += 1
            if not missing or (max_iterations and looks >= max_iterations):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise CeleryTimeoutError(f"{len(missing)} results are still missing after {timeout} s")
            if on_interval:
                on_interval()
            pause = 0.5 if interval is None else interval
            self._sleep(min(pause, left))

    def _load(self, task_ids: list[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for begin in range(0, len(task_ids), PAGE_RESULTS):
            records = self._run(self._taskq.store.load(task_ids[begin : begin + PAGE_RESULTS]))
            found |= {task_id: self.decode_result(record.payload) for task_id, record in records.items()}
        return found

    def _forget(self, task_id: str) -> None:
        self._run(self._taskq.store.delete([task_id]))

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """Whether ``result_backend_always_retry`` repeats an operation that failed with this error."""
        return isinstance(exc, OperationalError)

    # -- groups

    def _save_group(self, group_id: str, result: Any) -> Any:
        self._run(saved_groups.save(self._taskq.store, result.as_tuple(), self._expires_at()))
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        saved = self._run(saved_groups.load(self._taskq.store, group_id))
        return None if saved is None else {"result": result_from_tuple(saved, self.app)}

    def _delete_group(self, group_id: str) -> None:
        saved = self._run(saved_groups.load(self._taskq.store, group_id))
        if saved is not None:
            self._run(saved_groups.delete(self._taskq.store, group_id, len(saved[1])))

    # -- chords

    def ensure_chords_allowed(self) -> None:
        """Raise Celery's ``ImproperlyConfigured`` where the store counts no members."""
        try:
            check_store_counts_members(self._taskq.store)
        except ImproperlyConfigured as error:
            raise CeleryImproperlyConfigured(f"result_backend: {error}") from error

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        """Write the number of a header's members into the body, by which they are counted, before the header is sent.

        Args:
            header_result_args: the group's id and its members' results.
            body: the body's signature, which every member will carry.
        """
        self.ensure_chords_allowed()
        header = self.app.GroupResult(*header_result_args)
        self.save_group(header.id, header)
        body.options.update(saved_groups.counting_options(header.as_tuple()))

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """Record a success. The success of a chord's member is recorded even if its result is ignored."""
        if request and request.chord and (request.ignore_result or not store_result):
            self.store_result(task_id, result, state, request=request)
        super().mark_as_done(task_id, result, request, store_result, state)

    def mark_as_failure(
        self,
        task_id: str,
        exc: Exception,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Record the failure of a task, and of the tasks and workflows that were to follow it in its chain."""
        if request and request.chain:
            # Celery would end the rest of the chain too, but doesn't look into all of it, and errbacks would run twice.
            alone = Context(vars(request), chain=None)
            super().mark_as_failure(task_id, exc, traceback, alone, store_result, call_errbacks, state)
            self._conclude(request, state, replace(ErrorInfo.of(exc), traceback=traceback and str(traceback)))
            return
        member = bool(request and request.chord)
        super().mark_as_failure(task_id, exc, traceback, request, store_result or member, call_errbacks, state)

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        """Record the revocation of a task, and of the tasks and workflows that were to follow it in its chain."""
        super().mark_as_revoked(task_id, reason, request, store_result or bool(request and request.chord), state)
        if request and request.chain:
            self._conclude(request, state, ErrorInfo.of(TaskRevokedError(reason)))

    def on_chord_part_return(self, request: Context, state: str, result: Any, **_: Any) -> None:
        """Count a member that has ended; the last one sends the body, or fails it."""
        self._conclude(request, state)

    def fan_out(self, request: Context) -> Settlement:
        """Send the members of a large group, for a message of the task ``taskq.fan_out``."""
        context = context_of(self.app, self._taskq.store, self._policy(), request)
        try:
            return self._run(consequences.send_group(context))
        except OperationalError as trouble:
            raise Reject(trouble, requeue=True) from trouble

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Not implemented: the members that were already sent carry the number of members."""
        raise NotImplementedError(
            f"chord {chord_id}: add_to_chord is not supported by the taskq result backend: put the task into the header"
        )

    def _conclude(self, request: Any, state: str, error: ErrorInfo | None = None) -> None:
        context = context_of(self.app, self._taskq.store, self._policy(), request)
        try:
            self._run(consequences.end_in_chord(context, state, error))
        except BodyPending as pending:
            # Giving the message back would not help: Celery's worker has acknowledged it, or would take it up at once.
            logger.info("task %s[%s]: %s", request.task, request.id, pending)
        except OperationalError as trouble:
            # With acks_late, the message is delivered again, and its member is counted then. Without acks_late, the
            # message is gone already.
            raise Reject(trouble, requeue=True) from trouble

    def _policy(self) -> Policy:
        conf = self.app.conf
        return Policy(
            ignore_result=bool(conf.task_ignore_result),
            store_errors_even_if_ignored=bool(conf.task_store_errors_even_if_ignored),
            result_extended=bool(conf.result_extended),
            result_expires=self.expires or None,
            patience_seconds=PATIENCE_SECONDS,
            fan_out_members=0,  # the queue may be served by a Celery worker without this backend and its task
        )

    def _expires_at(self) -> float | None:
        return time.time() + self.expires if self.expires else None

    def _run(self, flow: PipelineFlow[T]) -> T:
        # No registered task is involved, so the flow asks for no run.
        return self._taskq.run(cast("Flow[T]", flow))
