"""Promises: what is called once a value is there. A result has one for its end, and a set of results waits for all.

Names and behaviour are those of vine, which Celery uses. A set's barrier counts the results that are missing.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from inspect import ismethod
from types import TracebackType
from typing import Any
from weakref import WeakMethod, ref


def _reference(function: Callable[..., Any]) -> Callable[[], Callable[..., Any] | None]:
    return WeakMethod(function) if ismethod(function) else ref(function)


class Promise:
    """A function that is called once, and others that are called with its value afterwards.

    Args:
        fun: the function; None: the value is the arguments of the call.
        args: arguments that come before those of the call.
        kwargs: keywords of the call.
        callback: the first function to call afterwards.
        on_error: called with the exception of a promise that has failed.
        weak: hold only a weak reference to ``fun``.

    Attributes:
        ready: the promise was called.
        failed: its function, or a caller of ``throw``, has raised an exception.
        value: the arguments with which the functions after it are called.
        reason: the exception.
        cancelled: nothing is called any more.
    """

    def __init__(
        self,
        fun: Callable[..., Any] | None = None,
        args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        callback: Any = None,
        on_error: Callable[..., Any] | None = None,
        weak: bool = False,
    ) -> None:
        self.fun = _reference(fun) if weak and fun is not None else fun
        self.weak = weak
        self.args = args or ()
        self.kwargs = kwargs or {}
        self.on_error = on_error
        self.ready = self.failed = self.cancelled = False
        self.value: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
        self.reason: BaseException | None = None
        self._listeners: deque[Any] = deque()
        if callback is not None:
            self.then(callback)

    @property
    def listeners(self) -> list[Any]:
        """The promises that wait for this one."""
        return list(self._listeners)

    def then(self, callback: Any, on_error: Callable[..., Any] | None = None) -> Any:
        """Call a function, or another promise, with the value, now or when it is there.

        Args:
            callback: the function or the promise.
            on_error: called with the exception that the function raises, or that this promise has failed with.

        Returns:
            The promise that waits.
        """
        waiting = callback if isinstance(callback, Promise) or hasattr(callback, "throw1") else None
        if waiting is None:
            waiting = Promise(callback, on_error=on_error)
        if self.cancelled:
            waiting.cancel()
        elif self.failed:
            waiting.throw(self.reason)
        elif self.ready and self.value is not None:
            args, kwargs = self.value
            waiting(*args, **kwargs)
        else:
            self._listeners.append(waiting)
        return waiting

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, and then those that wait for its value."""
        if self.cancelled:
            return None
        args, kwargs = (*self.args, *args), {**self.kwargs, **kwargs}
        function = self.fun() if self.weak and self.fun is not None else self.fun
        returned = None
        self.value = args, kwargs
        if function is not None:
            try:
                returned = function(*args, **kwargs)
            except Exception:  # the exception is raised again unless somebody takes it
                return self.throw()
            self.value = (returned,), {}
        self.ready = True
        while self._listeners:
            after, named = self.value
            self._listeners.popleft()(*after, **named)
        return returned

    def throw1(self, exc: BaseException | None = None) -> None:
        """Note an exception, and tell ``on_error`` of it."""
        if self.cancelled:
            return
        self.failed, self.reason = True, sys.exception() if exc is None else exc
        if self.on_error is not None:
            self.on_error(*self.args, self.reason, **self.kwargs)

    def throw(self, exc: BaseException | None = None, tb: TracebackType | None = None, propagate: bool = True) -> None:
        """Fail with an exception, and let those fail that wait.

        Args:
            exc: the exception; None: the one that is being handled.
            tb: the traceback that it is raised with.
            propagate: raise it, unless there is an ``on_error``.
        """
        if self.cancelled:
            return
        error = sys.exception() if exc is None else exc
        self.throw1(error)
        while self._listeners:
            self._listeners.popleft().throw1(error)
        if self.on_error is None and propagate and error is not None:
            raise error if tb is None and error is sys.exception() else error.with_traceback(tb)

    def cancel(self) -> None:
        """Call nothing any more."""
        self.cancelled = True
        while self._listeners:
            self._listeners.popleft().cancel()
        self.on_error = None


class Barrier:
    """A promise that is fulfilled when all results of a set are.

    Args:
        results: the results, each with a method ``then``.

    Attributes:
        ready: all results are there.
        cancelled: nothing is called any more.
    """

    def __init__(self, results: Iterable[Any] | None = None) -> None:
        self.p = Promise()
        self._missing = 0
        self._complete = False
        for result in results or ():
            self.add(result)
        if results:
            self.finalize()

    @property
    def ready(self) -> bool:
        """Whether all results are there."""
        return self.p.ready

    @property
    def cancelled(self) -> bool:
        """Whether nothing is called any more."""
        return self.p.cancelled

    def add(self, result: Any) -> None:
        """Wait for one more result."""
        if self.p.ready or self.p.cancelled:
            raise ValueError("Cannot add promise to full barrier")
        self._missing += 1
        result.then(self)

    def finalize(self) -> None:
        """Say that no more results will be added."""
        self._complete = True
        self._check()

    def __call__(self, *_: Any, **__: Any) -> None:
        """Note that one more result is there."""
        self._missing -= 1
        self._check()

    def _check(self) -> None:
        if self._complete and self._missing <= 0 and not self.p.ready:
            self.p()

    def then(self, callback: Any, on_error: Callable[..., Any] | None = None) -> Any:
        """Call a function when all results are there."""
        return self.p.then(callback, on_error)

    def throw1(self, exc: BaseException | None = None) -> None:
        """Note the exception of a result: a task that has failed has ended, too."""
        if not self.cancelled:
            self.p.throw1(exc)

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Fail with an exception."""
        self.p.throw(*args, **kwargs)

    def cancel(self) -> None:
        """Call nothing any more."""
        self.p.cancel()
