"""Test what a worker does on Windows, which has only some of POSIX; tests/docs/test_platforms.py starts one."""

from __future__ import annotations

import os
import signal

import pytest

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.factory import make_pool
from taskq_cloud.runtime.signals import stopping_signals
from tests.pools.pool_runner import load


def test_signals_that_the_system_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGQUIT", "SIGHUP"):
        monkeypatch.delattr(signal, name)
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR2, raising=False)
    assert stopping_signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2]


def test_processes_pool_without_process_groups_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(ImproperlyConfigured, match=r"this system \(Windows\) doesn't have: use --pool threads"):
        make_pool("processes", runner=load(""), app_path="shop:app")
