"""Samples of the documentation and the examples import public names only."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.samples import DOCS, blocks_of
from tests.test_public_names import PUBLIC

CONTRACTS = "taskq_cloud.testing.contracts."
"""The beginning of the modules that hold the contract suites; an author of an adapter imports these by their path."""

EXAMPLES = sorted((DOCS.parent / "examples").rglob("*.py"))


def private_imports(code: str) -> Iterator[str]:
    """The imports of names of this package that are not public."""
    for node in ast.walk(compile(code, "sample", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if is_ours(each.name) and not is_public(each.name))
            case ast.ImportFrom(module=str(module), names=names) if is_ours(module):
                yield from (f"{module}.{each.name}" for each in names if not is_public(module, each.name))


def is_ours(module: str) -> bool:
    return module.partition(".")[0] == "taskq_cloud"


def is_public(module: str, name: str | None = None) -> bool:
    """Whether a module, or a name in it, is public."""
    if module.startswith(CONTRACTS) or f"{module}.{name}" in PUBLIC or is_celerys(module, name):
        return True
    return module in PUBLIC and (name is None or name in importlib.import_module(module).__all__)


def is_celerys(module: str, name: str | None) -> bool:
    """Whether a module, or a name in it, has a public path of Celery's, or is the alias."""
    path = module.split(".")
    if path[:2] != ["taskq_cloud", "celery"] or any(part.startswith("_") for part in [*path, name or ""]):
        return False
    if (module, name) == ("taskq_cloud.celery", "alias"):
        return True
    theirs = importlib.import_module(".".join(path[1:]))
    return name is None or hasattr(theirs, name) or find_spec(f"{theirs.__name__}.{name}") is not None


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_samples_of_a_page_import_public_names_only(page: str) -> None:
    assert [name for block in blocks_of(page) for name in private_imports(block.code)] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_examples_import_public_names_only(path: Path) -> None:
    assert list(private_imports(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from taskq_cloud import TaskQ, errors\nfrom taskq_cloud.schedules import crontab", []),
        ("import taskq_cloud.core.flows", ["taskq_cloud.core.flows"]),
        ("async def f():\n    from taskq_cloud.app import TaskQ", ["taskq_cloud.app.TaskQ"]),
        ("from taskq_cloud import canvas", ["taskq_cloud.canvas"]),
        ("from taskq_cloud.settings import COMMAND_LINE", ["taskq_cloud.settings.COMMAND_LINE"]),
        ("from taskq_cloud.celery import Celery, alias\nfrom taskq_cloud.celery.signals import task_failure", []),
        ("from taskq_cloud.celery import native", ["taskq_cloud.celery.native"]),
        ("from taskq_cloud.celery._state import default_app", ["taskq_cloud.celery._state.default_app"]),
    ],
)
def test_private_imports_are_found(code: str, found: list[str]) -> None:
    assert list(private_imports(code)) == found
