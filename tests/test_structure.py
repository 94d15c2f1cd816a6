"""Tests of the structure that CONTRIBUTING.md promises: small modules and functions, small folders, checked types.

The direction of imports is checked by import-linter (``make imports``).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import taskq_cloud

PACKAGE = Path(taskq_cloud.__file__).parent
TREE = PACKAGE.parent
CELERYS_INTERFACE = PACKAGE / "celery"
MODULES = sorted(PACKAGE.rglob("*.py"))
PARTS_WITH_PYTHON = ("taskq_cloud", "emulators", "tests", "examples", "benchmarks", "infra")


def modules_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.glob("*.py") if each.name != "__init__.py")


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_package_has_at_most_eleven_modules_beside_its_rooms() -> None:
    assert len(modules_in(PACKAGE)) <= 11, modules_in(PACKAGE)


def test_core_has_at_most_six_modules_beside_its_rooms() -> None:
    assert len(modules_in(PACKAGE / "core")) <= 6, modules_in(PACKAGE / "core")


def length_below_docstring(path: Path) -> int:
    """The lines of a module below its docstring: that of ``errors`` draws the tree of all errors."""
    first, *_ = [*ast.parse(path.read_text(encoding="utf-8")).body, None]
    docstring = first.end_lineno or 0 if isinstance(first, ast.Expr) else 0
    return len(lines_of(path)) - docstring


def test_modules_are_short() -> None:
    lengths = {str(path.relative_to(PACKAGE)): length_below_docstring(path) for path in MODULES}
    assert not {path: length for path, length in lengths.items() if length > 350}


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> int:
    """The lines of a function. Celery's signatures, which take up to thirty lines, don't count."""
    first = function.body[0].lineno - 1 if CELERYS_INTERFACE in path.parents else function.lineno
    return (function.end_lineno or 0) - first + 1


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(PACKAGE)}: {node.name}": lines
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := length_of(node, path)) > 50
    }
    assert not long


def test_application_is_a_facade() -> None:
    assert len(lines_of(PACKAGE / "app.py")) < 250


@pytest.mark.parametrize("room", ["canvas", "results", "calling"])
def test_rooms_with_signatures_for_users_hardly_use_any(room: str) -> None:
    lines = [line for path in (PACKAGE / room).rglob("*.py") for line in lines_of(path)]
    uses = sum(len(re.findall(r"\bAny\b", line)) for line in lines)
    assert uses * 1000 <= 60 * len(lines), f"{uses} in {len(lines)} lines"


def test_rules_are_rarely_switched_off_on_a_line() -> None:
    # Every fourth is for a name, a signature or a text of Celery's interface.
    sources = [path for part in PARTS_WITH_PYTHON for path in (TREE / part).rglob("*.py")]
    assert sum(len(re.findall(r"#\s*noqa", path.read_text(encoding="utf-8"))) for path in sources) <= 90
