"""Runs LocalStack without Docker: a script of ``localstack.LocalStack``, in LocalStack's own interpreter.

Two things LocalStack downloads or has in containers are given to it: Amazon's DynamoDB Local, from an npm package, and
functions, which run in processes under the interpreter ``TASKQ_FUNCTIONS_PYTHON`` with AWS's own runtime client
(awslambdaric) and can import what is installed there. Standard input is a pipe from the process that started it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

from following import end_with_the_starter  # type: ignore[import-not-found]  # its folder is the script's
from localstack.runtime.main import main
from localstack.services.dynamodb import server as dynamodb
from localstack.services.lambda_.invocation import runtime_executor
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.utils.common import TMP_THREADS
from localstack.utils.run import ShellCommandThread
from runtime_api import TIMEOUT, RuntimeApi  # type: ignore[import-not-found]

STOP_TIMEOUT_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


class ProcessExecutor(runtime_executor.RuntimeExecutor):  # type: ignore[misc]  # LocalStack's interpreter has it
    """A function's execution environment that is a process, and no container."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self._api = RuntimeApi()
        self._environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by stop

    def start(self, env_vars: dict[str, str]) -> None:
        """Start the function's process; its first invocation waits for it."""
        self._api.__enter__()
        self._environment = {
            **{name: str(value) for name, value in env_vars.items()},
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "LAMBDA_TASK_ROOT": str(self._code),
        }
        self._process = self._run()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end(self._process)
        self._api.__exit__()
        self._log.close()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Run the function once. As in Lambda, a process that ends over it or takes too long is replaced."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._run()
        begin = self._log.seek(0, os.SEEK_END)
        event, seconds = payload["payload"].encode(), float(self.function_version.config.timeout)
        kind, content = self._api.call(event, seconds=seconds, ended=self._process.poll)
        if kind == TIMEOUT:
            self._end(self._process)
        self._log.seek(begin)
        log = self._log.read().decode(errors="replace")
        return InvocationResult(payload["invoke-id"], content, is_error=kind != "response", logs=log)

    def _run(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [os.environ["TASKQ_FUNCTIONS_PYTHON"], "-m", "awslambdaric", self._environment["_HANDLER"]],
            cwd=self._code,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _code(self) -> Path:
        return Path(self.function_version.config.code.get_unzipped_code_location())

    def get_address(self) -> str:
        """Where the process is."""
        return LOOPBACK

    def get_endpoint_from_executor(self) -> str:
        """Where LocalStack is for it."""
        return LOOPBACK

    def get_runtime_endpoint(self) -> str:
        """Told to the function, and not asked there: its process speaks Lambda's Runtime API."""
        return f"http://{LOOPBACK}"

    def get_logs(self) -> str:
        """All it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpack the code."""
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """There is nothing to clean up: LocalStack removes the code."""


def start_dynamodb(server: Any) -> ShellCommandThread:
    """What LocalStack's DynamoDB runs: Amazon's jar without the agent that LocalStack would download for it."""
    folder = Path(os.environ["TASKQ_DYNAMODB_LOCAL"])
    command = ["java", "-Xmx256m", f"-Djava.library.path={folder / 'DynamoDBLocal_lib'}"]
    command += ["-jar", str(folder / "DynamoDBLocal.jar"), "-port", str(server.port)]
    thread = ShellCommandThread([*command, "-inMemory", "-sharedDb", "-disableTelemetry"], auto_restart=True)
    TMP_THREADS.append(thread)  # LocalStack ends it with itself
    thread.start()
    return thread


if __name__ == "__main__":
    end_with_the_starter()
    dynamodb.DynamodbServer.do_start_thread = start_dynamodb
    runtime_executor.get_runtime_executor = lambda: ProcessExecutor
    main()
