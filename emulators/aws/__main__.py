"""Run a local AWS stack until SIGINT or SIGTERM: ``python -m emulators.aws localstack``.

With ``--init``, a script runs in the stack's environment once the stack answers, as the scripts in
``/etc/localstack/init/ready.d`` do in LocalStack's image.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from emulators.aws import STACKS

USUAL_PORT = 4566


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stack, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m emulators.aws", description=__doc__)
    parser.add_argument("stack", choices=sorted(STACKS), nargs="?", default="ministack")
    parser.add_argument("--port", type=int, default=USUAL_PORT, help="the port on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--init", metavar="SCRIPT", help="a script to run once the stack answers")
    options = parser.parse_args(arguments)
    stack = STACKS[options.stack](options.port)
    reason = stack.missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_in_order)
    try:
        with stack:
            if options.init:
                _initialise(options.init, stack.environment())
            exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in stack.environment().items())
            print(f"{stack.name} answers at {stack.endpoint_url}; for a shell:\n\nexport {exports}\n", flush=True)
            while True:
                signal.pause()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1


def _end_in_order(_number: int, _frame: object) -> NoReturn:
    """Exit by an exception, so that the context manager ends the stack."""
    sys.exit(0)


def _initialise(script: str, environment: dict[str, str]) -> None:
    here = {"TASKQ_PYTHON": sys.executable, "TASKQ_FOLDER": str(Path.cwd())}
    subprocess.run([script], env={**here, **os.environ, **environment}, check=True)


if __name__ == "__main__":
    sys.exit(main())
