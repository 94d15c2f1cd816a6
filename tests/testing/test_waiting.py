"""The waits of tests: ``until`` and ``auntil``."""

from __future__ import annotations

import pytest

from taskq_cloud.testing.waiting import auntil, until


def test_until_returns_the_first_true_value() -> None:
    values = iter([0, "", None, 7, 8])
    assert until(lambda: next(values)) == 7


def test_until_fails_with_the_description_after_the_timeout() -> None:
    looks: list[int] = []
    with pytest.raises(AssertionError, match=r"^not within 0\.05 s: 3 messages left$"):
        until(lambda: looks.append(1), lambda: "3 messages left", 0.05)
    assert len(looks) > 1


async def test_auntil_takes_functions_and_coroutine_functions() -> None:
    values = iter([0, 7, 0, 8])

    async def following() -> int:
        return next(values)

    assert await auntil(lambda: next(values)) == 7
    assert await auntil(following) == 8


async def test_auntil_fails_with_the_description_after_the_timeout() -> None:
    with pytest.raises(AssertionError, match=r"^not within 0\.05 s: the condition$"):
        await auntil(lambda: False, timeout_seconds=0.05)
