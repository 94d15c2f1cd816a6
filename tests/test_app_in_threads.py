"""Test that threads which use an application at the same time share its broker, which is made on first use."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.brokers import registry
from taskq_cloud.brokers.memory import MemoryBroker


def test_threads_that_make_the_first_call_share_one_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=10)

    def make(*_: Any) -> MemoryBroker:
        both.wait()
        return MemoryBroker()

    monkeypatch.setattr(registry, "broker_from_url", make)
    shop = TaskQ("shop", broker="memory://", results="memory://")
    with ThreadPoolExecutor(2) as threads:
        brokers = list(threads.map(lambda _: shop.broker, range(2)))
    assert brokers[0] is brokers[1] is shop.broker
