"""Workflows that are nested at random, by a seed for each scenario: their values are those of Celery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from tests.celery.scenarios.library import Library
from tests.celery.scenarios.workers import Running, running

SEEDS = range(34)
"""With seed 35, for one, Celery waits for ever. About 200 seeds have been compared."""
_WAIT = 4


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    with running(lib, declare) as given:
        yield given


def declare(work: Running) -> None:
    """Declare tasks whose values have their names, and tasks that are replaced."""

    @work.task()
    def label(*values, name="?"):
        return [name, *values]

    @work.task(bind=True)
    def relabelled(self, *values, name="?"):
        return self.replace(work.label.si(*values, name=f"{name}!"))

    @work.task(bind=True)
    def grouped(self, *values, name="?"):
        return self.replace(work.group(work.label.si(*values, name=f"{name}{i}") for i in range(2)))


def workflow(work: Running, random: Random, depth: int, names: Iterator[int]) -> Any:
    """Make a workflow at random; every task in it has a name, which is part of its value."""
    kind = "task" if depth == 0 else random.choice(("task", "chain", "chain", "group", "chord"))
    if kind == "task":
        task = random.choice((work.label, work.label, work.label, work.relabelled, work.grouped))
        sig = task.s(name=str(next(names)))
        return sig.set(immutable=True) if random.random() < 0.2 else sig
    parts = [workflow(work, random, depth - 1, names) for _ in range(random.randint(2, 3))]
    if kind == "chain":
        return work.chain(*parts)
    if kind == "group":
        return work.group(parts)
    return work.chord(parts, work.label.s(name=str(next(names))))


def _scenario(seed: int) -> Callable[[Running], Any]:
    def scenario(work: Running) -> Any:
        result = workflow(work, Random(seed), 1 + seed % 3, iter(range(1000))).apply_async()
        return result.get(timeout=_WAIT, interval=0.01)

    return scenario


for _seed in SEEDS:
    _made = _scenario(_seed)
    _made.__name__ = f"workflow_{_seed}"
    globals()[_made.__name__] = _made
