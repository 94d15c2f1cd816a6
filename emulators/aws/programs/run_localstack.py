"""Run LocalStack without Docker: the script that ``localstack.LocalStack`` runs in LocalStack's own interpreter.

LocalStack would download DynamoDB Local and run functions in containers. Here DynamoDB Local comes from an npm package.
Functions run as processes of the interpreter ``TASKQ_FUNCTIONS_PYTHON`` with AWS's own runtime client (awslambdaric),
and can import the packages that are installed there. Standard input is a pipe from the process that started the script.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

from following import end_with_the_starter  # type: ignore[import-not-found]  # beside this script
from localstack.runtime.main import main
from localstack.services.dynamodb import server as dynamodb
from localstack.services.lambda_.invocation import runtime_executor
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.utils.common import TMP_THREADS
from localstack.utils.run import ShellCommandThread
from runtime_api import TIMEOUT, RuntimeApi  # type: ignore[import-not-found]

STOP_TIMEOUT_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


class ProcessExecutor(runtime_executor.RuntimeExecutor):  # type: ignore[misc]  # installed in LocalStack's interpreter
    """A function's execution environment as a process instead of a container."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self._api = RuntimeApi()
        self._environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by stop

    def start(self, env_vars: dict[str, str]) -> None:
        """Start the function's process; the first invocation waits until it is ready."""
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
        """Run the function once. As in Lambda, a process that ends during the run or takes too long is replaced."""
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
        """The host of the function's process."""
        return LOOPBACK

    def get_endpoint_from_executor(self) -> str:
        """The host of LocalStack, for the function."""
        return LOOPBACK

    def get_runtime_endpoint(self) -> str:
        """The URL that LocalStack names to the function. Nothing calls it: the process uses ``RuntimeApi``."""
        return f"http://{LOOPBACK}"

    def get_logs(self) -> str:
        """The output of the function's processes."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpack the function's code."""
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Do nothing: LocalStack removes the code itself."""


def start_dynamodb(server: Any) -> ShellCommandThread:
    """Start DynamoDB Local from its jar, without the agent that LocalStack would download."""
    folder = Path(os.environ["TASKQ_DYNAMODB_LOCAL"])
    command = ["java", "-Xmx256m", f"-Djava.library.path={folder / 'DynamoDBLocal_lib'}"]
    command += ["-jar", str(folder / "DynamoDBLocal.jar"), "-port", str(server.port)]
    thread = ShellCommandThread([*command, "-inMemory", "-sharedDb", "-disableTelemetry"], auto_restart=True)
    TMP_THREADS.append(thread)  # LocalStack stops these threads when it ends
    thread.start()
    return thread


if __name__ == "__main__":
    end_with_the_starter()
    dynamodb.DynamodbServer.do_start_thread = start_dynamodb
    runtime_executor.get_runtime_executor = lambda: ProcessExecutor
    main()
