"""Ends a stack's process with the one that has started it."""

from __future__ import annotations

import os
import signal
import sys
import threading


def end_with_the_starter() -> None:
    """Have this process terminated once its standard input, a pipe from whoever started it, is closed."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
