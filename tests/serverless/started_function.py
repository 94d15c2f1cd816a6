"""A function's process under AWS's own runtime client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from emulators.aws.programs.runtime_api import RuntimeApi


@contextmanager
def started_function(
    folder: Path, environment: Mapping[str, str], *options: str
) -> Iterator[tuple[RuntimeApi, subprocess.Popen[str]]]:
    """Run the library's handler in a folder. Yield Lambda's Runtime API, and the function's process.

    Args:
        folder: the working folder.
        environment: all environment variables of the process except the API's address; a function has 512 MiB of
            memory unless they say otherwise.
        options: options of the interpreter.
    """
    with RuntimeApi() as api:
        process = subprocess.Popen(
            [sys.executable, *options, "-m", "awslambdaric", "taskq_cloud.lambda_function.lambda_handler"],
            cwd=folder,
            env={
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                **environment,
                "AWS_LAMBDA_RUNTIME_API": api.address,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield api, process
        finally:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()
