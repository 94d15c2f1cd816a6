"""The files of a project: its Python modules, and the others that may run Celery's program or require it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from taskq_cloud.cli.migrate.codes import Finding

_SKIPPED: Final = frozenset(
    {"__pycache__", "build", "dist", "env", "migrations", "node_modules", "site-packages", "venv", "virtualenv"}
)
_COMMANDS_IN: Final = re.compile(
    r"Procfile.*|.*Dockerfile.*|Makefile|.*\.(sh|ya?ml|service|conf|ini|toml|bash|env)", re.IGNORECASE
)
_COMMAND: Final = re.compile(
    r"(?<![\w./@:-])(?:[\w./-]*/)?celery\W{1,6}(?:-A\b|--app\b|-b\b|worker\b|beat\b|multi\b|-C\b|-q\b|inspect\b|flower\b)"
)
"""``celery`` with an option or a command after it, in a shell's line or in a list of YAML or JSON."""
_TASKQ: Final = re.compile(r"taskq[\"',\s]+$")
_REQUIREMENTS_IN: Final = re.compile(r"requirements.*\.(txt|in)|pyproject\.toml|setup\.(py|cfg)|Pipfile", re.IGNORECASE)
_REQUIREMENT: Final = re.compile(r"^[\s\"'\[]*(celery)(?:\[[^\]]*\])?\s*(?:$|[\s=<>~!;\"',@#])", re.IGNORECASE)


def python_files(project: Path) -> list[Path]:
    """Return the Python files of a project, or the file itself."""
    if project.is_file():
        return [project]
    return [path for path in _files(project) if path.suffix == ".py"]


def other_findings(project: Path) -> Iterator[Finding]:
    """Find command lines of Celery's program, and requirements of Celery."""
    if project.is_file():
        return
    for path in _files(project):
        is_list = _REQUIREMENTS_IN.fullmatch(path.name) is not None
        if not is_list and _COMMANDS_IN.fullmatch(path.name) is None:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if is_list:
            yield from _requirements(path.relative_to(project), lines)
        if path.suffix not in (".py", ".txt", ".in"):
            yield from _commands(path.relative_to(project), lines)


def _files(project: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        yield from (Path(folder, name) for name in sorted(names))


def _requirements(file: Path, lines: list[str]) -> Iterator[Finding]:
    if any(re.search(r"taskq[-_]cloud", line) for line in lines):
        return
    for number, line in enumerate(lines, start=1):
        if _REQUIREMENT.match(line):
            yield Finding(file, number, "M207", line.strip().strip("\"',"))


def _commands(file: Path, lines: list[str]) -> Iterator[Finding]:
    for number, line in enumerate(lines, start=1):
        match = None if line.lstrip().startswith("#") else _COMMAND.search(line)
        if match and not _TASKQ.search(line[: match.start()]):
            yield Finding(file, number, "M206", line.strip()[:100])
