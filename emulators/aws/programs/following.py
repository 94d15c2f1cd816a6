"""Ends a stack's process when the process that started it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading


def end_with_the_starter() -> None:
    """Terminate this process once its standard input closes, which is a pipe from the process that started it."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
