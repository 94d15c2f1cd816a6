"""Runs the scenarios of a module with one of the libraries, as a program: its output is JSON, of each outcome by name.

python -m tests.celery.scenarios.running taskq_cloud.celery tasks
"""

from __future__ import annotations

import fcntl
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.celery.scenarios.library import Library, outcome

ROOT = Path(__file__).parents[3]
CASES = f"{__package__ or 'tests.celery.scenarios'}.cases"
MODULES = sorted(path.stem for path in (Path(__file__).parent / "cases").glob("*.py"))
_TIMEOUT_SECONDS = 110


def scenarios(module: ModuleType) -> dict[str, Callable[[Any], Any]]:
    """The scenarios of a module: its functions with one parameter, but for ``prepared`` and ``declare``."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return {
        name: function
        for name, function in functions
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and name not in ("prepared", "declare")
        and len(inspect.signature(function).parameters) == 1
    }


def names() -> list[tuple[str, str]]:
    """All scenarios: the name of the module, and of the function."""
    return [(module, name) for module in MODULES for name in scenarios(import_module(f"{CASES}.{module}"))]


def run_all(package: str, name: str, only: str = "") -> dict[str, str]:
    """Run the scenarios of a module with a library in this process."""
    module, library = import_module(f"{CASES}.{name}"), Library(package)
    preparing = module.prepared(library) if hasattr(module, "prepared") else nullcontext(library)
    with preparing as given:
        return {
            each: outcome(scenario, given, package)
            for each, scenario in scenarios(module).items()
            if not only or any(o in each for o in only.split(","))
        }


def outcomes(package: str, name: str, folder: Path) -> dict[str, str]:
    """The outcomes of a module's scenarios with a library: run in a process of their own, once for each test run.

    Args:
        package: the library.
        name: the module.
        folder: the folder of this test run, in which the processes of the run find each other's outcomes.
    """
    kept = folder / f"{package}.{name}.json"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            command = [sys.executable, "-m", f"{__package__}.running", package, name]
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            )
            assert done.returncode == 0, done.stderr
            kept.write_text(done.stdout.splitlines()[-1])
    found: dict[str, str] = json.loads(kept.read_text())
    return found


def main() -> None:
    """Run a module's scenarios, and print their outcomes."""
    sys.stdout.write(json.dumps(run_all(*sys.argv[1:])) + "\n")


if __name__ == "__main__":
    main()
