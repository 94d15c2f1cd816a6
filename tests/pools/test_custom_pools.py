"""Pools that other packages bring: by the name of an entry point, and by a path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.factory import check_name, make_pool
from taskq_cloud.pools.threads import ThreadPool
from tests.pools.pool_runner import PoolRunner
from tests.worker.serving import serving

POOLS = """
from taskq_cloud.pools.threads import ThreadPool

class Quiet(ThreadPool):
    def __init__(self, runner, concurrency, *, max_tasks_per_child=None):
        super().__init__(runner, concurrency)
        self.most = max_tasks_per_child

def make(runner, concurrency, **options):
    pool = ThreadPool(runner, concurrency)
    pool.options = options
    return pool

class Nested:
    Pool = Quiet

def no_pool(runner, concurrency):
    return object()

made = []

class Half:
    def __init__(self, runner, concurrency):
        made.append(self)

    async def start(self): ...
    async def stop(self): ...

class Wrapping:
    def __init__(self, runner, concurrency):
        self._pool = ThreadPool(runner, concurrency)

    def __getattr__(self, name):
        return getattr(self._pool, name)

class Apart(ThreadPool):
    runs_here = False

number = 7
"""
METADATA = "Metadata-Version: 2.1\nName: brought-pools\nVersion: 1.0\n"
ENTRY_POINTS = (
    "[taskq_cloud.pools]\nquiet = brought_pools:Quiet\ngone = brought_pools:Gone\nlost = no_such_module:Pool\n"
)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brought_pools.py").write_text(POOLS)
    metadata = tmp_path / "brought_pools-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA)
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brought_pools", raising=False)


def make(name: str, **options: Any) -> Any:
    return make_pool(name, runner=PoolRunner(), app_path="shop:app", concurrency=3, **options)


@pytest.mark.parametrize("name", ["quiet", "brought_pools:Quiet", "brought_pools:Nested.Pool"])
def test_pool_is_made_with_runner_concurrency_and_its_own_options(name: str) -> None:
    check_name(name)
    pool = make(name, max_tasks_per_child=9)
    assert isinstance(pool, ThreadPool)
    assert (type(pool).__name__, pool.concurrency, vars(pool)["most"]) == ("Quiet", 3, 9)
    assert make(name).most is None


def test_function_that_takes_any_option_is_given_all() -> None:
    assert make("brought_pools:make").options == {
        "app_path": "shop:app",
        "max_tasks_per_child": None,
        "max_memory_per_child_kib": None,
    }


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("forks", {}, "no pool is named 'forks'; there are .*, and installed packages bring gone, lost, quiet"),
        ("quiet", {"max_memory_per_child_kib": 5}, "pool 'quiet' doesn't take max_memory_per_child: remove"),
        ("gone", {}, "pool 'gone' \\(brought_pools:Gone\\) can't be imported"),
        ("lost", {}, "pool 'lost' .* can't be imported: No module named 'no_such_module'"),
        ("brought_pools:Gone", {}, "pool 'brought_pools:Gone' can't be imported"),
        ("no_such_module:Pool", {}, "No module named 'no_such_module'"),
        ("brought_pools:number", {}, "is 7, and not a class or function that makes a pool"),
        ("brought_pools:no_pool", {}, "which lacks start, reserve, free, run, stop, concurrency"),
        ("brought_pools:Half", {}, "which lacks reserve, free, run"),
    ],
)
def test_pool_that_can_t_be_made_is_an_error(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        make(name, **options)


def test_class_that_lacks_a_method_is_not_made() -> None:
    with pytest.raises(ImproperlyConfigured, match="pool 'brought_pools:Half' is <class"):
        make("brought_pools:Half")
    assert sys.modules["brought_pools"].made == []


def test_pool_may_have_its_methods_from_another_one() -> None:
    assert make("brought_pools:Wrapping").concurrency == 3


@pytest.mark.parametrize(("pool", "here"), [("Quiet", True), ("Wrapping", True), ("Apart", False)])
async def test_pool_says_whether_its_tasks_run_in_the_worker_s_process(pool: str, here: bool) -> None:
    app = TaskQ("tests", broker="memory://", results="memory://")
    async with serving(app, pool=f"brought_pools:{pool}") as worker:
        assert worker.runs_tasks is here


async def test_worker_runs_tasks_in_a_pool_that_a_setting_names() -> None:
    app = TaskQ("tests", broker="memory://", results="memory://", worker_pool="brought_pools:Quiet")

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    async with serving(app, pool=None) as worker:
        result = await add.adelay(1, 2)
        assert await result.aget(timeout=10) == 3
        assert worker.options.pool == "brought_pools:Quiet"
        assert worker.runs_tasks
