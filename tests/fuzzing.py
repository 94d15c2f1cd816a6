"""Inputs for tests of robustness: documents that are changed at random, and a limit on the work that one may cause.

Work is counted in calls of Python functions and in bytes, so that a busy machine makes no test fail.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MOST_CALLS: Final = 300_000
"""About a second's work, without the counting."""
MOST_BYTES: Final = 64 << 20

fuzzed = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
"""A fixed seed and a fixed budget: every run tries the same examples."""


class TooMuchWorkError(BaseException):
    """An input has caused more work than any input may. No handler of ``Exception`` catches it."""


@contextmanager
def limited_work(most_calls: int = MOST_CALLS, most_bytes: int = MOST_BYTES) -> Iterator[None]:
    """Limit the work of a block: ``TooMuchWorkError`` ends it where it goes beyond the limit."""
    left = most_calls

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sys.setprofile(None)
            raise TooMuchWorkError(f"more than {most_calls} calls, in {frame.f_code.co_qualname}")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    if peak > most_bytes:
        raise TooMuchWorkError(f"{peak:,} bytes")


def nested(depth: int) -> Any:
    """A list in a list in a list..."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _wide() -> dict[str, Any]:
    return {str(number): number for number in range(2_000)}


_HOSTILE: Final[tuple[Callable[[], Any], ...]] = (
    *((lambda value=value: value) for value in (None, True, False, 0, -1, 1, 10**6, 2**31, 2**63, 10**30, 10**400)),
    *((lambda value=value: value) for value in (0.5, -0.0, 1e-6, 1e12, 1e308, math.inf, -math.inf, math.nan)),
    *(
        (lambda value=value: value)
        for value in ("", "x", "\x00", "a\x00b", "\ud800", "é" * 300, "../../x", "{0.__class__}")
    ),
    *(
        (lambda value=value: value)
        for value in ("1e999", "2026-01-01", "9999-12-31T23:59:59Z", "not a time", "x" * 40_000)
    ),
    *(
        (lambda value=value: value)
        for value in ("*/1 " * 5, "0-59," * 8_000, "utf-8", "base64", "gzip", "application/x-yaml")
    ),
    list,
    dict,
    lambda: [None],
    lambda: [[]],
    lambda: {"": None},
    lambda: {"__type__": "datetime", "__value__": "x"},
    lambda: {"task": "add", "args": [1], "kwargs": {}, "options": {"task_id": "other"}},
    lambda: {"every": 1e-6},
    lambda: {"crontab": "* * * * *", "timezone": "Europe/Paris"},
    lambda: nested(50),
    lambda: nested(400),
    lambda: list(range(5_000)),
    _wide,
)

hostile = st.sampled_from(_HOSTILE).map(lambda make: make())
"""Values of wrong types and of extreme sizes."""


def places(document: Any) -> list[tuple[Any, Any]]:
    """All places in a document, as pairs of a container and a key."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        container = waiting.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in list(items):
            found.append((container, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


@st.composite
def changed(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """A document with up to three changes: a value replaced, removed, added, or moved from elsewhere."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        known = places(document)
        if not known:
            break
        container, key = draw(st.sampled_from(known))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "move"])):
            case "replace":
                container[key] = draw(hostile)
            case "remove":
                del container[key]
            case "add" if isinstance(container, dict):
                container[draw(st.sampled_from(["task", "id", "x", "eta", "chord", "taskq_schedule", "group"]))] = draw(
                    hostile
                )
            case "move":
                other, place = draw(st.sampled_from(known))
                if (isinstance(other, dict) and place in other) or (isinstance(other, list) and place < len(other)):
                    container[key] = copy.deepcopy(other[place])
    return document


@st.composite
def spoiled(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text that is cut off, or in which some characters are others, or that nests deeply."""
    text = draw(texts)
    match draw(st.sampled_from(["cut", "replace", "double", "nest"])):
        case "cut":
            return text[: draw(st.integers(0, len(text)))]
        case "replace":
            at = draw(st.integers(0, max(len(text) - 1, 0)))
            return text[:at] + draw(st.text(max_size=3)) + text[at + 1 :]
        case "nest":  # deeper than json writes, and reads
            depth = draw(st.sampled_from([900, 100_000]))
            return text.replace("null", "[" * depth + "]" * depth, draw(st.integers(1, 3)))
    return text + text


def written(document: Any) -> str:
    """A document as JSON text, with the NaN and the lone surrogates that a hostile sender can write."""
    return json.dumps(document)
