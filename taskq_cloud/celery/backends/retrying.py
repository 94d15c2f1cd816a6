"""Repeating operations on a store after passing errors, by the settings ``result_backend_always_retry`` and so on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.utils.serialization import raise_with_context
from taskq_cloud.celery.utils.time import get_exponential_backoff_interval

logger = get_logger(__name__)


class Retrying:
    """The part of ``Backend`` that repeats.

    Attributes:
        always_retry: whether anything is repeated.
        max_retries: how often, at most.
    """

    always_retry: bool
    max_retries: float
    base_sleep_between_retries_ms: int
    max_sleep_between_retries_ms: int

    def _sleep(self, amount: float) -> None:
        time.sleep(amount)

    def _ensure_retryable(
        self,
        func: Callable[..., Any],
        *args: Any,
        fallback_exc: Callable[..., BaseException] | None = None,
        fallback_msg: str | None = None,
        max_retries: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a function, and again after a passing error if ``result_backend_always_retry`` is set."""
        retries, limit = 0, self.max_retries if max_retries is None else max_retries
        while True:
            try:
                return func(*args, **kwargs)
            except Exception as error:
                if not self.always_retry or not self.exception_safe_to_retry(error):
                    raise
                if retries >= limit:
                    if fallback_exc is None:
                        raise
                    raise_with_context(fallback_exc(fallback_msg))
                retries += 1
                name = getattr(func, "__name__", repr(func))
                logger.warning("Failed operation %s. Retrying %s more times.", name, limit - retries, exc_info=True)
                try:
                    self.on_backend_retryable_error(error)
                except Exception:
                    logger.exception("on_backend_retryable_error hook failed; continuing retry loop")
                pause = get_exponential_backoff_interval(
                    self.base_sleep_between_retries_ms, retries, self.max_sleep_between_retries_ms, full_jitter=True
                )
                self._sleep(pause / 1000)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether an operation that failed with this error may be repeated; no error is, unless a subclass says so."""
        return False

    def on_backend_retryable_error(self, exc: BaseException) -> None:
        """Called before an operation is repeated."""
