"""Find and run the Python blocks of a page under docs/, or of README.md.

A block is fenced as ``python``; ``python aws`` needs the local AWS stack, ``python file`` is a whole file of a project
that another test runs (``projects``), and ``python notest`` can't run here. A ``text`` block that follows directly is
what the block prints, where ``...`` stands for anything.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskq_cloud import TaskQ
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.supervisor import Worker

DOCS = Path(__file__).parents[2] / "docs"
README = "../README.md"
"""README.md as a page, by its path from docs/."""
STOP_SECONDS = 20

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A Python block: its place, its mark, and its output (None if the page shows none)."""

    page: str
    line: int
    mark: str
    code: str
    prints: str | None

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(text))
    blocks = []
    for fence, following in zip(fences, [*fences, None][1:], strict=True):
        language, _, mark = fence["info"].partition(" ")
        if language != "python":
            continue
        answer = None
        if following is not None and following["info"] == "text" and not text[fence.end() : following.start()].strip():
            answer = following["code"]
        line = text.count("\n", 0, fence.start("code")) + 1
        blocks.append(Block(page, line, mark, fence["code"], answer))
    return blocks


class Page:
    """One page's namespace, and a worker for the application that the page calls ``app``."""

    def __init__(self) -> None:
        # A module, so that tasks are named as in a file shop.py.
        self.module = types.ModuleType("shop")
        self._served: tuple[TaskQ, list[str]] | None = None
        self._stack = contextlib.ExitStack()

    def run(self, block: Block) -> str:
        """Run a block, and return its output."""
        # Empty lines come before the block, so that a traceback names the line of the page.
        source = "\n" * (block.line - 1) + block.code
        code = compile(source, str(DOCS / block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(self._await(code))
            else:
                exec(code, vars(self.module))
        self._serve()
        return out.getvalue()

    def close(self) -> None:
        self._stack.close()
        for app in self._apps():
            app.close()

    async def _await(self, code: types.CodeType) -> None:
        try:
            await eval(code, vars(self.module))
        finally:
            for app in self._apps():
                await app.aclose()

    def _apps(self) -> list[TaskQ]:
        found = [_native(value) for value in vars(self.module).values()]
        return [each for each in found if each is not None]

    def _serve(self) -> None:
        app = _native(getattr(self.module, "app", None))
        if app is None or not app.tasks or self._served == (app, app.queues()):
            return
        self._stack.close()
        self._stack.enter_context(_worker(app))
        self._served = (app, app.queues())


def _native(value: object) -> TaskQ | None:
    """Return the native application of a page's value, which may be one of Celery's; None: it isn't an application."""
    celery = sys.modules.get("taskq_cloud.celery.app.base")
    if celery is not None and isinstance(value, celery.Celery):
        value.finalize(auto=True)
        value = value.native
    return value if isinstance(value, TaskQ) else None


@contextlib.contextmanager
def _worker(app: TaskQ) -> Iterator[None]:
    loops: list[tuple[asyncio.AbstractEventLoop, Worker]] = []
    started = threading.Event()

    async def serve() -> None:
        options = WorkerOptions.from_settings(
            app.conf, app.queues(), pool="threads", concurrency=2, wait_time_seconds=0.2
        )
        worker = Worker(app.runtime(), options)
        loops.append((asyncio.get_running_loop(), worker))
        started.set()
        await worker.serve()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="docs-worker", daemon=True)
    thread.start()
    assert started.wait(STOP_SECONDS)
    try:
        yield
    finally:
        loop, worker = loops[0]
        loop.call_soon_threadsafe(worker.stop)
        thread.join(STOP_SECONDS)
        assert not thread.is_alive()


def assert_prints(block: Block, printed: str) -> None:
    if block.prints is None:
        return
    # Long lines are folded on the page.
    shown, wanted = " ".join(printed.split()), " ".join(block.prints.split())
    pattern = ".*?".join(map(re.escape, wanted.split("...")))
    assert re.fullmatch(pattern, shown, re.DOTALL), f"{block.name} prints\n{printed}\nthe page says\n{block.prints}"


@contextlib.contextmanager
def open_page() -> Iterator[Page]:
    page = Page()
    before = sys.modules.get("shop")
    sys.modules["shop"] = page.module
    try:
        yield page
    finally:
        page.close()
        if before is None:
            del sys.modules["shop"]
        else:
            sys.modules["shop"] = before
