"""The benchmark measures taskq_cloud with few tasks: it runs to its end, and its counts are the product's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.speed import fauxqs_missing
from tests.servers import require_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TASKS = 40


def test_benchmark_of_taskq_cloud_has_a_value_for_every_measure() -> None:
    if reason := fauxqs_missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    command = [sys.executable, "benchmarks/run.py", "sqs", "--only", "taskq_cloud, a", "--scale", str(TASKS / 1000)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--rounds", "1"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed, written = tables(done.stdout), tables(page.partition("<!-- /measured -->")[0])
    measured = {name for name, _ in printed}
    assert len(measured) == 3
    assert printed.keys() <= written.keys()
    assert all(value > 0 for (_, measure), value in printed.items() if "at rest" not in measure), printed
    # One request looks up the queue's address; each of the others sends ten messages.
    sent = printed["taskq_cloud, asyncio", "requests per 1,000, producer"]
    assert sent == 1000 * (1 + TASKS // 10) / TASKS
    assert printed["taskq_cloud, asyncio", "at rest, other requests a minute"] == 0
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page


def test_benchmark_of_servers_has_a_value_for_every_measure() -> None:
    for name in ("redis", "rabbitmq"):
        require_server(name)
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    contenders = "taskq_cloud, RabbitMQ, threads"
    command = [sys.executable, "benchmarks/run.py", "servers", "--only", contenders, "--scale", str(TASKS / 5000)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--rounds", "1"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    block = page.partition("<!-- servers -->")[2]
    printed, written = (tables(text.partition("\n| | beside")[0]) for text in (done.stdout, block))
    assert printed.keys() == {each for each in written if each[0].startswith(contenders)}
    assert len(printed) == 10  # with results, it has round trips
    assert all(value > 0 for (_, measure), value in printed.items() if "worker, CPU" not in measure), printed
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page


def test_benchmark_of_requests_has_the_rows_of_the_page() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REQUESTS": "2"}
    command = [sys.executable, "benchmarks/aws_requests.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (
        (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("## Two drivers")[2].partition("\n## ")[0]
    )
    numbers = re.compile(r"\| ([\d,]+) \|(?: ([\d,]+) \|)?$", re.MULTILINE)
    assert len(numbers.findall(done.stdout)) == len(numbers.findall(page)) == 11


def test_benchmark_of_cold_starts_has_a_value_for_every_function() -> None:
    command = [sys.executable, "benchmarks/cold_starts.py", "--rounds", "1", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    table = re.compile(r"^\| ((?:send|run): [^|]+) \| ([\d.,]+) \|(?: [\d.,]+ \|){5} (\d+) \|$", re.MULTILINE)
    printed, written = (
        {name: int(modules) for name, _, modules in table.findall(text)} for text in (done.stdout, page)
    )
    assert printed.keys() == written.keys() and len(printed) == 7
    # A package that leaves pydantic out imports as much: nothing that calls tasks imports pydantic.
    assert printed["send: taskq_cloud, `--producer`"] == printed["send: taskq_cloud"] < printed["send: Celery"]


def test_benchmark_of_sqlite_has_a_value_for_every_measure() -> None:
    command = [sys.executable, "benchmarks/embedded.py", "backlog", "crowd", "--rounds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_SCALE": "0.02"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = {line.split(" | ")[2]: float(line.split(" | ")[4]) for line in done.stdout.splitlines()}
    assert {name for name in measured if "ratio" in name} == {
        f"{call}, ratio" for call in ("send one", "send nine", "receive ten", "settle ten")
    }
    assert all(value > 0 for name, value in measured.items() if name != "messages left"), measured
    assert measured["messages left"] == 0


def tables(text: str) -> dict[tuple[str, str], float]:
    """Return the numbers of printed tables by contender and measure."""
    found: dict[tuple[str, str], float] = {}
    measures = [""]
    for line in text.splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| | "):
            measures = cells
        elif line.startswith("| "):
            given = zip(measures, cells, strict=True)
            found |= {(name, measure): float(cell.split()[0].replace(",", "")) for measure, cell in given if cell}
    return found
