"""ministack: SQS, DynamoDB, S3, EventBridge Scheduler, Lambda and more, in pure Python."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from emulators.aws.stack import PROGRAMS, Stack


class Ministack(Stack):
    """A ministack process. Its Lambda functions run under this interpreter, so they can import its packages."""

    name = "ministack"
    health_path = "/_ministack/health"

    @classmethod
    def missing(cls) -> str | None:
        """Why ministack can't be started: see ``Stack.missing``."""
        if importlib.util.find_spec("ministack") is None:
            return "the local AWS stack is not installed: pip install 'taskq-cloud[local]'"
        return None

    def _command(self) -> list[str]:
        return [sys.executable, str(PROGRAMS / "run_ministack.py")]

    def _settings(self, directory: Path) -> dict[str, str]:
        return {
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(directory),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(directory / "state"),
            "S3_DATA_DIR": str(directory / "s3"),
        }
