"""Compiles a package's modules and counts what starting it imports, each in an interpreter of the target's version.

Lambda's folders can't be written to, so a module that comes without bytecode is compiled anew in every cold start.
Bytecode that is not checked against its source depends on the source alone: PEP 552.
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

_RUNTIMES_OWN: Final = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
"""What a function finds without its package having it ("Building Lambda functions with Python")."""
_START: Final = """
import json, sys
from importlib.machinery import PathFinder
runtimes_own, elsewhere, *folders = json.loads(sys.argv[1])

class OfTheRuntime:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, path or elsewhere, target) if name.partition(".")[0] in runtimes_own else None

sys.path[:0] = folders
sys.meta_path.append(OfTheRuntime)
before = set(sys.modules)
import taskq_cloud.lambda_function
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def compile_all(interpreter: str, folder: Path, runs_in: str) -> None:
    """Write the bytecode of every module beside it.

    Args:
        interpreter: the path of one of the target's version.
        folder: what to compile.
        runs_in: where it will be, as tracebacks are to say it.

    Raises:
        ImproperlyConfigured: a module can't be compiled: says which, and why.
    """
    arguments = ["-m", "compileall", "-q", "-f", "-s", str(folder), "-p", runs_in]
    done = _run(interpreter, [*arguments, "--invalidation-mode", "unchecked-hash", str(folder)])
    if done.returncode != 0:
        said = " ".join((done.stdout or done.stderr).split())
        raise ImproperlyConfigured(f"not every module compiles with {interpreter}: {said.replace(str(folder), '')}")


def start(interpreter: str, folders: Sequence[Path], app: str) -> list[str]:
    """Start a package as a function's cold start does; the names of the modules that this imports.

    Args:
        interpreter: the path of one of the target's version.
        folders: what Lambda would put on the path.
        app: the value of ``TASKQ_APP``.

    Raises:
        ImproperlyConfigured: it doesn't start: says why.
    """
    # -S: what is installed here is not there.
    paths = json.dumps([_RUNTIMES_OWN, [path for path in sys.path if path], *map(str, folders)])
    arguments = ["-S", "-B", "-c", _START, paths]
    done = _run(interpreter, arguments, {"TASKQ_APP": app, "AWS_LAMBDA_FUNCTION_NAME": "packaged"}, folders[0])
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise ImproperlyConfigured(
            f"the package doesn't start: {lines[-1]}; what it imports is named with --include and --requirement"
        )
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def _run(
    interpreter: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    # -I leaves the environment and the user's own packages out; PATH alone is needed to find nothing but libraries.
    given = {"PATH": os.environ.get("PATH", ""), **(environment or {})}
    return subprocess.run(
        [interpreter, "-I", *arguments], env=given, cwd=folder, capture_output=True, text=True, check=False
    )
