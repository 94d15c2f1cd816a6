"""When a function's process ends because its memory grows from one invocation to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq_cloud.serverless.memory import MemoryWatch, watched
from tests.serverless.local_function import LocalFunction

MIB = 1 << 20


def ended_after(limit_mib: int, *usages: tuple[int, int]) -> int | None:
    """Return the number of the first invocation after which the process should end.

    Args:
        limit_mib: the function's memory.
        usages: what the process has after each invocation, and the most that it has had, in MiB.
    """
    given = iter(usages)

    def usage() -> tuple[int, int]:
        now, most = next(given)
        return now * MIB, most * MIB

    watch = MemoryWatch(limit_mib * MIB, usage)
    return next((number for number, _ in enumerate(usages, 1) if watch.is_too_full()), None)


def test_growing_process_ends_before_a_batch_that_may_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    grown = [(number, number) for number in range(100, 600, 70)]
    assert ended_after(512, *grown) == 6  # 450 MiB; the next batch would need 70 more
    (line,) = caplog.records
    assert "grown from 100 to 450 MiB in 6 invocations" in line.getMessage()


def test_peak_within_a_batch_counts() -> None:
    assert ended_after(512, (100, 250), (130, 280), (160, 310), (190, 340), (350, 500)) == 5
    assert ended_after(512, (100, 250), (130, 280), (160, 310), (190, 340), (220, 370)) is None


def test_process_that_needs_much_and_does_not_grow_goes_on() -> None:
    assert ended_after(512, *[(480, 500)] * 20) is None
    assert ended_after(512, (440, 480), *[(470, 490), (445, 490)] * 10) is None


def test_handler_outside_of_lambda_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(event: object, context: object) -> object:
        return event

    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", raising=False)
    assert watched(handler) is handler


@pytest.mark.slow
@pytest.mark.parametrize("behind", ["nothing", "thread", "exit handler"])
def test_process_ends_after_its_answer_whatever_a_task_leaves_behind(
    behind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exit_file = tmp_path / "exited"
    environment = {
        "TASKQ_BROKER": "memory://",
        "TASKQ_RESULTS": "disabled://",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "300",
        "SHOP_EXIT_FILE": str(exit_file),
    }
    with LocalFunction(environment) as function:
        assert function.invoke({"task": "leak", "args": [0, "nothing"]})["result"] == 1
        assert function.invoke({"task": "leak", "args": [200, behind]})["result"] == 2
        assert function.wait_for_end(30) == 0
        assert function.invoke({"task": "leak", "args": [0, "nothing"]})["result"] == 1, "another process answers"
        assert function.deaths == 0
    assert exit_file.exists() == (behind != "exit handler")
    assert ("threads are still running: left behind" in capfd.readouterr().out) == (behind == "thread")
