"""Test the processes pool beyond the contract of all pools: deaths, replacements, and leftovers."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.core.model.outcome import Failed, Lost, Succeeded, TimedOut
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools import child_supply
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.testing.waiting import auntil
from tests.pools.pool_helpers import RUNNER_FACTORY, StartPool, invocation
from tests.pools.pool_tasks import arrivals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def value_of(pool: ProcessPool, name: str, *args: Any) -> Any:
    outcome = await pool.run(invocation(name, *args))
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.payload)


def is_alive(pid: int) -> bool:
    """Return whether the process runs. A zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def children_of(pid: int) -> list[int]:
    """Return the ids of the child processes, zombies included."""
    found = []
    for entry in arrivals("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
    return found


async def test_run_takes_another_process_if_its_reserved_one_has_died(start_pool: StartPool) -> None:
    pool: ProcessPool = await start_pool("processes", 1)
    place = await pool.reserve()
    assert place is not None
    os.kill(place.pid, signal.SIGKILL)
    await auntil(lambda: not is_alive(place.pid), "the process to die")
    assert await pool.run(invocation("add", 2, 3), place) == Succeeded("5")


async def test_reserved_place_is_given_to_no_other_run(start_pool: StartPool) -> None:
    pool: ProcessPool = await start_pool("processes", 2)
    place = await pool.reserve()
    assert place is not None
    pids = {await value_of(pool, "pid") for _ in range(4)}
    assert place.pid not in pids
    pool.free(place)
    assert len({await value_of(pool, "pid") for _ in range(4)}) == 2


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        (("die", signal.SIGKILL), "killed by SIGKILL"),
        (("die", signal.SIGABRT), "killed by SIGABRT"),
        (("die", signal.SIGRTMIN + 3), f"killed by signal {signal.SIGRTMIN + 3}"),
        (("segfault",), "killed by SIGSEGV"),
        (("exit_now", 7), "exit code 7"),
        (("exit_now", 0), "exit code 0"),
    ],
    ids=["kill -9", "abort", "a signal with no name", "segfault", "exit 7", "exit 0"],
)
async def test_process_death_costs_only_its_own_task(
    start_pool: StartPool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    death: tuple[str, *tuple[int, ...]],
    reason: str,
) -> None:
    pool = await start_pool("processes")
    bystander = asyncio.create_task(pool.run(invocation("meet", str(tmp_path), 2)))
    await auntil(lambda: arrivals(tmp_path))
    doomed = invocation(*death)
    assert await pool.run(doomed) == Lost(reason)
    (tmp_path / "go on").touch()
    assert await bystander == Succeeded("2")
    for _ in range(pool.concurrency):
        assert await value_of(pool, "add", 1, 1) == 2
    [record] = [record for record in caplog.records if getattr(record, "action", None) == "pool.child_lost"]
    assert vars(record)["task_id"] == doomed.message.id
    assert reason in record.getMessage()


async def test_process_killed_during_a_task_loses_that_task(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("processes", 1)
    [pid] = pool.pids
    run = asyncio.create_task(pool.run(invocation("hang", str(tmp_path))))
    await auntil(lambda: arrivals(tmp_path))
    os.kill(pid, signal.SIGKILL)
    assert await run == Lost("killed by SIGKILL")
    assert await value_of(pool, "pid") != pid


async def test_process_killed_while_idle_costs_no_task(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1)
    for _ in range(5):
        pid = await value_of(pool, "pid")
        # The next task is sent before the pool can know of the death.
        os.kill(pid, signal.SIGKILL)
        assert await value_of(pool, "pid") != pid


async def test_child_process_ignores_signals_that_ask_it_to_end(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1)
    [pid] = pool.pids
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(pid, number)
    assert await value_of(pool, "pid") == pid
    assert os.getsid(pid) == pid
    assert await value_of(pool, "subprocess_heeds_sigterm") == -signal.SIGTERM


async def test_hard_limit_kills_programs_that_the_task_started(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("processes", 1)
    pid_file = tmp_path / "pid"
    run = asyncio.create_task(pool.run(invocation("start_sleeper", str(pid_file), hard=1.0)))
    await auntil(pid_file.exists)
    sleeper = int(pid_file.read_text())
    assert is_alive(sleeper)
    assert await run == TimedOut(1.0)
    await auntil(lambda: not is_alive(sleeper))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("start_sleeper", ()),
        ("start_sleeper_and_exit", (3,)),
        ("start_sleeper_and_exit", (0,)),
        ("start_sleeper_and_leave", ()),
    ],
)
async def test_programs_of_a_task_end_with_its_dead_process(
    start_pool: StartPool, tmp_path: Path, name: str, more: tuple[int, ...]
) -> None:
    pool = await start_pool("processes", 1)
    [pid] = pool.pids
    pid_file = tmp_path / "pid"
    run = asyncio.create_task(pool.run(invocation(name, str(pid_file), *more)))
    await auntil(pid_file.exists)
    sleeper = int(pid_file.read_text())
    if name == "start_sleeper":
        os.kill(pid, signal.SIGKILL)
    assert isinstance(await run, Lost)
    await auntil(lambda: not is_alive(sleeper))


async def test_program_of_a_retired_process_goes_on(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("processes", 1, max_tasks_per_child=1)
    sleeper = await value_of(pool, "leave_sleeper")
    assert await value_of(pool, "add", 1, 1) == 2
    try:
        assert is_alive(sleeper)
    finally:
        os.kill(sleeper, signal.SIGKILL)


async def test_cancelled_run_kills_the_process(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("processes", 1)
    [pid] = pool.pids
    run = asyncio.create_task(pool.run(invocation("hang", str(tmp_path))))
    await auntil(lambda: arrivals(tmp_path))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await value_of(pool, "pid") != pid
    await auntil(lambda: not is_alive(pid))


@pytest.mark.parametrize(
    ("name", "limit", "outcome"), [("hang", 0.2, TimedOut), ("exit_now", None, Lost)], ids=["limit", "death"]
)
async def test_end_of_a_process_in_its_first_task_is_no_failed_start(
    start_pool: StartPool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    limit: float | None,
    outcome: type,
) -> None:
    monkeypatch.setattr(child_supply, "FIRST_BACKOFF_SECONDS", 3600)
    pool = await start_pool("processes", 1)
    for _ in range(2):
        argument = str(tmp_path) if name == "hang" else 3
        assert isinstance(await pool.run(invocation(name, argument, hard=limit)), outcome)
    assert isinstance(await value_of(pool, "pid"), int)


async def test_pool_needs_no_temporary_folder(start_pool: StartPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/does/not/exist")
    pool = await start_pool("processes", 1)
    assert isinstance(await value_of(pool, "pid"), int)


async def test_process_retires_after_max_tasks_per_child(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1, max_tasks_per_child=3)
    pids = [await value_of(pool, "pid") for _ in range(9)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]


async def test_process_retires_over_max_memory_per_child(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1, max_memory_per_child_kib=200 * 1024)
    small = await value_of(pool, "hoard", 1)
    assert await value_of(pool, "hoard", 250) == small
    assert await value_of(pool, "pid") != small


async def test_death_of_process_that_forked_is_noticed(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("processes", 1)
    assert await pool.run(invocation("fork_and_die", str(tmp_path))) == Lost("killed by SIGKILL")
    [marker] = arrivals(tmp_path)
    forked = int(marker.split("-")[0])
    os.kill(forked, signal.SIGKILL)


@pytest.mark.parametrize(("name", "reason"), [("babble", "channel"), ("hang_up", "exit code 1")])
async def test_task_that_breaks_the_channel_is_lost(start_pool: StartPool, name: str, reason: str) -> None:
    pool = await start_pool("processes", 1)
    [pid] = pool.pids
    outcome = await pool.run(invocation(name))
    assert isinstance(outcome, Lost)
    assert reason in outcome.reason
    assert await value_of(pool, "pid") != pid


async def test_large_arguments_and_results_pass_the_channel(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1)
    size = 20_000_000
    assert await value_of(pool, "length", "x" * size) == size
    assert len(await value_of(pool, "large", size)) == size


async def test_unpicklable_argument_or_retry_fails_the_task(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1)
    for request in (invocation("unpicklable"), invocation("length", lambda: None)):
        outcome = await pool.run(request)
        assert isinstance(outcome, Failed)
        assert "pickle" in str(outcome.error.exc_message)
    assert await value_of(pool, "add", 1, 1) == 2


async def test_output_of_task_is_the_workers_output(start_pool: StartPool, capfd: pytest.CaptureFixture[str]) -> None:
    pool = await start_pool("processes", 1)
    await value_of(pool, "speak", "hello from a task")
    assert "hello from a task" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("broken", "RuntimeError: this application does not import"),
        ("exits", "SystemExit: not like this"),
        ("crashes", "killed by SIGSEGV"),
    ],
)
async def test_application_that_cannot_be_imported_is_reported(argument: str, text: str) -> None:
    pool = ProcessPool(argument, 2, runner_factory=RUNNER_FACTORY)
    before = children_of(os.getpid())
    with pytest.raises(ImproperlyConfigured, match=text) as caught:
        await pool.start()
    assert repr(argument) in str(caught.value)
    assert children_of(os.getpid()) == before


async def test_replacement_that_cannot_import_is_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trouble = tmp_path / "trouble"
    pool = ProcessPool(f"broken if {trouble}", 1, runner_factory=RUNNER_FACTORY)
    await pool.start()
    try:
        trouble.touch()
        assert await pool.run(invocation("exit_now", 1)) == Lost("exit code 1")
        waiting = asyncio.create_task(pool.run(invocation("add", 1, 1)))
        await auntil(lambda: [r for r in caplog.records if getattr(r, "action", None) == "pool.child_start_failed"])
        assert not waiting.done()
        trouble.unlink()
        assert await waiting == Succeeded("2")
    finally:
        await pool.stop()
    assert f"{trouble} is there" in caplog.text


@pytest.mark.parametrize("rounds", [0, 1, 5, 50])
async def test_stop_while_replacement_starts_leaves_no_process(rounds: int) -> None:
    before = children_of(os.getpid())
    pool = ProcessPool("shop:app", 2, runner_factory=RUNNER_FACTORY)
    await pool.start()
    await asyncio.gather(pool.run(invocation("exit_now", 1)), pool.run(invocation("exit_now", 1)))
    for _ in range(rounds):
        await asyncio.sleep(0)  # let the replacements get a little further
    await pool.stop()
    assert children_of(os.getpid()) == before


def start_program(program: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


PARENT = """
import asyncio, sys
sys.path[:] = {path!r}
from tests.pools.pool_helpers import invocation, make

async def main():
    pool = make("processes", 2)
    await pool.start()
    print(*pool.pids, flush=True)
    await asyncio.gather(*(pool.run(invocation("stubborn", "/nonexistent")) for _ in range({busy})))
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("busy", [0, 2], ids=["idle", "busy"])
async def test_child_processes_die_with_the_worker(busy: int) -> None:
    program = PARENT.format(path=sys.path, busy=busy)
    with start_program(program) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        parent.kill()
    await auntil(lambda: not any(is_alive(pid) for pid in pids))


def replace_guard(parent: subprocess.Popen[str]) -> None:
    """Kill the guard of a pool, and wait until there is another one."""
    assert parent.stdout is not None
    assert parent.stdin is not None
    first = int(parent.stdout.readline())
    os.kill(first, signal.SIGKILL)
    now = first
    while now == first:
        parent.stdin.write("\n")
        parent.stdin.flush()
        now = int(parent.stdout.readline())


BUSY_PARENT = """
import asyncio, sys
sys.path[:] = {path!r}
from taskq_cloud.pools import guard
from tests.pools.pool_helpers import invocation, make

async def main():
    guard.AGAIN_SECONDS = 0.01
    pool = make("processes", 1)
    await pool.start()
    print(pool._supply._guard._process.pid, flush=True)
    run = asyncio.create_task(pool.run(invocation("start_sleeper", {pid_file!r})))
    while True:
        await asyncio.to_thread(sys.stdin.readline)
        print(pool._supply._guard._process.pid, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("guard_dies", [False, True])
async def test_programs_of_tasks_die_with_the_worker(tmp_path: Path, guard_dies: bool) -> None:
    pid_file = tmp_path / "pid"
    with start_program(BUSY_PARENT.format(path=sys.path, pid_file=str(pid_file))) as parent:
        await auntil(pid_file.exists)
        sleeper = int(pid_file.read_text())
        assert is_alive(sleeper)
        if guard_dies:
            replace_guard(parent)
        parent.kill()
    await auntil(lambda: not is_alive(sleeper))


async def test_process_killed_while_the_pool_starts_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ProcessPool(f"killed once, see {tmp_path}", 2, runner_factory=RUNNER_FACTORY)
    await pool.start()
    try:
        assert await pool.run(invocation("add", 1, 1)) == Succeeded("2")
    finally:
        await pool.stop()
    assert [vars(record)["action"] for record in caplog.records] == ["pool.child_start_failed"]
    assert "killed by SIGKILL" in caplog.text


async def test_process_killed_at_each_start_ends_the_worker() -> None:
    pool = ProcessPool("killed", 1, runner_factory=RUNNER_FACTORY)
    before = children_of(os.getpid())
    with pytest.raises(ImproperlyConfigured, match="killed by SIGKILL"):
        await pool.start()
    assert children_of(os.getpid()) == before


async def test_closed_channel_ends_a_busy_process(tmp_path: Path) -> None:
    """Close the channel only, as on systems that can't tell a process of its parent's death."""
    pool = ProcessPool("shop:app", 1, runner_factory=RUNNER_FACTORY)
    await pool.start()
    [pid] = pool.pids
    run = asyncio.create_task(pool.run(invocation("hang", str(tmp_path))))
    await auntil(lambda: arrivals(tmp_path))
    [child] = pool._supply.children
    child._writer.close()
    assert await run == Lost("killed by SIGKILL")
    assert not is_alive(pid)
    await pool.stop()


@pytest.mark.slow
async def test_twenty_replacements_leave_no_process_or_descriptor(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def replace(times: int) -> set[int]:
        pool = ProcessPool("shop:app", 2, max_tasks_per_child=1, runner_factory=RUNNER_FACTORY)
        await pool.start()
        seen = set(pool.pids)
        slots = asyncio.Semaphore(2)

        async def one(number: int) -> None:
            async with slots:
                endings = [invocation("pid"), invocation("exit_now", 1), invocation("leave")]
                await pool.run(endings[number % 3])
                seen.update(pool.pids)

        await asyncio.gather(*(one(number) for number in range(times)))
        await pool.stop()
        assert pool.pids == []
        return seen

    await replace(2)  # objects that are created once, such as the child watcher, are created here
    gc.collect()
    descriptors, children = len(arrivals("/proc/self/fd")), children_of(os.getpid())
    assert len(await replace(20)) >= 20
    gc.collect()
    assert len(arrivals("/proc/self/fd")) == descriptors
    assert children_of(os.getpid()) == children
