"""Compiles a package's modules, and starts the package once, with an interpreter of the target's version.

A function can't write to its folders, so a module without bytecode is compiled again in every cold start. The bytecode
is not checked against its source, which makes it depend on nothing but the source (PEP 552).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from taskq_cloud.errors import ImproperlyConfigured

_RUNTIME_PACKAGES: Final = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
"""The packages that Lambda's runtime provides (Lambda Developer Guide, "Building Lambda functions with Python")."""
_START: Final = """
import json, sys
from importlib.machinery import PathFinder
runtime_packages, path_here, *folders = json.loads(sys.argv[1])

class RuntimePackages:
    @staticmethod
    def find_spec(name, path=None, target=None):
        provided = name.partition(".")[0] in runtime_packages
        return PathFinder.find_spec(name, path or path_here, target) if provided else None

sys.path[:0] = folders
sys.meta_path.append(RuntimePackages)
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


_FUNCTION: Final = "import taskq_cloud.lambda_function"
_PRODUCER: Final = (
    "import os; from taskq_cloud.bootstrap.loading import find_app; find_app(os.environ['TASKQ_APP']).connections"
)


def compile_all(interpreter: str, folder: Path, runs_in: str) -> None:
    """Compile every module in a folder, and write the bytecode next to it.

    Args:
        interpreter: the path of an interpreter of the target's version.
        folder: the folder.
        runs_in: the folder that the modules will run in, for tracebacks.

    Raises:
        ImproperlyConfigured: a module can't be compiled; the error names it and the reason.
    """
    arguments = ["-m", "compileall", "-q", "-f", "-s", str(folder), "-p", runs_in]
    done = _run(interpreter, [*arguments, "--invalidation-mode", "unchecked-hash", str(folder)])
    if done.returncode != 0:
        said = " ".join((done.stdout or done.stderr).split())
        raise ImproperlyConfigured(f"not every module compiles with {interpreter}: {said.replace(str(folder), '')}")


def start(interpreter: str, folders: Sequence[Path], app: str, *, producer: bool = False) -> list[str]:
    """Start a package as a function's cold start does, and return the names of the modules that this imports.

    Args:
        interpreter: the path of an interpreter of the target's version.
        folders: the folders that Lambda puts on the import path.
        app: the value of ``TASKQ_APP``.
        producer: whether the package only calls tasks, and has no handler.

    Raises:
        ImproperlyConfigured: the package doesn't start; the error says why.
    """
    # -S hides the packages that are installed here.
    paths = json.dumps([_RUNTIME_PACKAGES, [path for path in sys.path if path], *map(str, folders)])
    program = _START.replace("{statement}", _PRODUCER if producer else _FUNCTION)
    arguments = ["-S", "-B", "-c", program, paths]
    # Without the function's name, the handler opens no clients; a producer that does so itself needs a region.
    environment = {"TASKQ_APP": app, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    done = _run(interpreter, arguments, environment, folders[0])
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no output"]
        # What the handler goes on to say is about a function that is deployed.
        reason = lines[-1].partition(". Deploy a package")[0]
        raise ImproperlyConfigured(
            f"the package doesn't start: {reason}; add missing modules with --include or --require"
        )
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def _run(
    interpreter: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    # -I ignores Python's environment variables and the user's packages; PATH lets the interpreter find its libraries.
    given = {"PATH": os.environ.get("PATH", ""), **(environment or {})}
    return subprocess.run(
        [interpreter, "-I", *arguments], env=given, cwd=folder, capture_output=True, text=True, check=False
    )
