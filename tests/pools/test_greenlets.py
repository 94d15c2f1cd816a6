"""Test the pools of greenlets beyond the contract of all pools, with gevent and with eventlet."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.core.model.outcome import Abandoned, Failed, Lost, Succeeded, TimedOut
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools import greenlet_process
from taskq_cloud.testing.waiting import auntil
from tests.pools.pool_helpers import StartPool, invocation, make
from tests.pools.pool_tasks import arrivals

pytestmark = pytest.mark.slow

MANY = 200
WAIT_SECONDS = 0.2


@pytest.fixture(params=["gevent", "eventlet"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def pool(kind: str, start_pool: StartPool) -> Any:
    return await start_pool(kind, MANY)


@pytest.fixture
async def slow_server() -> AsyncIterator[int]:
    """The port of a server that answers after a while."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(WAIT_SECONDS)
        writer.write(b"answer")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=MANY)
    yield server.sockets[0].getsockname()[1]
    server.close()


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["action"] for record in caplog.records if "action" in vars(record)]


async def test_many_tasks_wait_for_sockets_at_the_same_time(pool: Any, slow_server: int) -> None:
    begun = time.monotonic()
    outcomes = await asyncio.gather(*(pool.run(invocation("ask_server", slow_server)) for _ in range(MANY)))
    seconds = time.monotonic() - begun
    assert outcomes == [Succeeded('"answer"')] * MANY
    assert seconds < MANY * WAIT_SECONDS / 8


async def test_only_the_child_process_is_patched(pool: Any, kind: str) -> None:
    assert await pool.run(invocation("patched")) == Succeeded(f'["{kind}"]')
    assert (socket.socket.__module__, type(time.sleep).__name__) == ("socket", "builtin_function_or_method")


async def test_soft_limit_ends_the_wait_for_a_socket(pool: Any, tmp_path: Path) -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        outcome = await pool.run(invocation("ask_server_and_be_limited", port, soft=0.1, hard=20))
    assert outcome == Succeeded('"limited"')


async def test_event_loops_of_many_greenlets_run_at_the_same_time(pool: Any, tmp_path: Path) -> None:
    runs = [pool.run(invocation("run_own_loop", str(tmp_path), 11)) for _ in range(10)]
    coroutine = pool.run(invocation("ameet", str(tmp_path), 11))
    assert await asyncio.gather(*runs, coroutine) == [Succeeded("11")] * 11


async def test_limits_reach_a_task_that_never_waits(pool: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert await pool.run(invocation("calculate_and_be_limited", soft=0.1, hard=20)) == Succeeded('"limited"')
    assert await pool.run(invocation("calculate", 20, hard=0.1)) == TimedOut(0.1)
    assert await pool.run(invocation("add", 1, 2)) == Succeeded("3")
    assert "pool.greenlets_killed" not in actions(caplog)


async def test_task_that_holds_up_the_others_is_logged(
    pool: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greenlet_process, "HELD_SECONDS", 0.5)
    monkeypatch.setattr(greenlet_process, "ASK_SECONDS", 0.2)
    waiting = asyncio.create_task(pool.run(invocation("ameet", "/", 1)))
    outcomes = await asyncio.gather(pool.run(invocation("calculate", 1.5)), waiting)
    assert outcomes[0] == Succeeded('"done"')
    assert actions(caplog) == ["pool.greenlets_held"]
    assert caplog.records[0].getMessage().startswith("task calculate (")


async def test_process_that_gives_no_answer_is_killed_after_a_hard_limit(
    pool: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(greenlet_process, "KILL_SECONDS", 1.0)
    [pid] = pool.pids
    others = [asyncio.create_task(pool.run(invocation("hang", str(tmp_path)))) for _ in range(3)]
    await auntil(lambda: len(arrivals(tmp_path)) == 3)
    held = await pool.run(invocation("hold_interpreter", str(tmp_path), 20, hard=0.2))
    assert held == TimedOut(0.2)
    outcomes = await asyncio.gather(*others)
    assert all(isinstance(outcome, Abandoned) and "another task" in outcome.reason for outcome in outcomes)
    assert "pool.greenlets_killed" in actions(caplog)
    assert await pool.run(invocation("pid")) != Succeeded(str(pid))


async def test_greenlet_that_ignores_its_end_is_left_behind(
    pool: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    assert await pool.run(invocation("stubborn", str(release), hard=0.1)) == TimedOut(0.1)
    assert actions(caplog) == ["pool.greenlet_abandoned"]
    release.touch()
    assert await pool.run(invocation("add", 1, 2)) == Succeeded("3")


async def test_killed_process_costs_each_of_its_tasks_one_receive(
    pool: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    runs = [asyncio.create_task(pool.run(invocation("hang", str(tmp_path)))) for _ in range(100)]
    await auntil(lambda: len(arrivals(tmp_path)) == 100)
    [pid] = pool.pids
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.gather(*runs) == [Lost("killed by SIGKILL")] * 100
    assert actions(caplog) == ["pool.child_lost"] * 100
    assert await pool.run(invocation("add", 1, 2)) == Succeeded("3")
    assert pid not in pool.pids


async def test_cancelled_run_has_ended_when_the_call_returns(pool: Any, tmp_path: Path) -> None:
    for name in ("hang", "ahang"):
        run = asyncio.create_task(pool.run(invocation(name, str(tmp_path))))
        count = len(arrivals(tmp_path))
        await auntil(lambda count=count: len(arrivals(tmp_path)) == count + 1)  # type: ignore[misc]
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert len(arrivals(tmp_path)) == count + 2, "its finally block has run"


async def test_arguments_that_cannot_be_pickled_cost_only_their_own_task(pool: Any) -> None:
    outcome = await pool.run(invocation("add", lambda: 1, 2))
    assert isinstance(outcome, Failed)
    assert await pool.run(invocation("add", 1, 2)) == Succeeded("3")


async def test_application_that_cannot_be_imported_ends_the_start(kind: str) -> None:
    pool = make(kind, app_path="broken")
    with pytest.raises(ImproperlyConfigured, match="this application does not import"):
        await pool.start()
    assert pool.pids == []


async def test_missing_library_is_named_with_its_extra(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq_cloud.pools.greenlets.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=rf"pip install 'taskq-cloud\[{kind}\]'"):
        await make(kind).start()
