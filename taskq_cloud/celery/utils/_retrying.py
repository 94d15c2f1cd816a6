"""Calls that are made again until they succeed."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ("retry_over_time",)


def retry_over_time(
    fun: Callable[..., Any],
    catch: type[BaseException] | tuple[type[BaseException], ...],
    args: Any = None,
    kwargs: Any = None,
    errback: Callable[[Any, Iterator[float], int], float] | None = None,
    max_retries: int | None = None,
    interval_start: float = 2,
    interval_step: float = 2,
    interval_max: float = 30,
    callback: Callable[[], Any] | None = None,
    timeout: float | None = None,
) -> Any:
    """Call ``fun`` until it succeeds, waiting longer after each failure.

    Args:
        fun: the function.
        catch: the exceptions after which it is called again.
        args: its positional arguments.
        kwargs: its keyword arguments.
        errback: called with the exception, an iterator over the coming waits and the number of retries so far;
            it returns how many seconds to wait.
        max_retries: the last exception is raised after so many retries; None never gives up.
        interval_start: the first wait, in seconds.
        interval_step: how much longer each wait is, in seconds.
        interval_max: the longest wait, in seconds.
        callback: called once for each second of a wait.
        timeout: the last exception is raised after so many seconds.
    """
    waits = _waits(interval_start, interval_step, interval_max)
    end = time.time() + timeout if timeout else None
    for retries in itertools.count():
        try:
            return fun(*(args or ()), **(kwargs or {}))
        except catch as error:
            if max_retries is not None and retries >= max_retries:
                raise
            if end and time.time() > end:
                raise
            if callback:
                callback()
            wait = min(float(errback(error, waits, retries) if errback else next(waits)), float(interval_max))
        _sleep(wait, callback)
    raise AssertionError  # pragma: no cover - the count has no end


def _waits(start: float, step: float, longest: float) -> Iterator[float]:
    for number in itertools.count():
        yield min(start + number * step, float(longest))


def _sleep(seconds: float, callback: Callable[[], Any] | None) -> None:
    for _ in range(int(seconds)):
        if callback:
            callback()
        time.sleep(1.0)
    time.sleep(seconds - int(seconds))
