"""A fixture that starts pools and stops them at the end of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskq_cloud.pools.base import Pool
from tests.pools.pool_helpers import StartPool, make


@pytest.fixture
async def start_pool() -> AsyncIterator[StartPool]:
    pools: list[Pool] = []

    async def start(kind: str, concurrency: int = 2, **options: Any) -> Pool:
        pool: Pool = make(kind, concurrency, **options)
        pools.append(pool)
        await pool.start()
        return pool

    yield start
    for pool in pools:
        await pool.stop()
