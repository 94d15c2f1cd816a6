"""The names of the resources that all handlers use, and the count of the modules that a handler has imported."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUEUE = os.environ["BENCH_QUEUE"]
TABLE = os.environ["BENCH_TABLE"]
Handler = Callable[[Any, Any], Any]


def counted(handler: Handler) -> Handler:
    """Return a handler that notes the number of imported modules after each call."""

    def note_afterwards(event: Any, context: Any) -> Any:
        answer = handler(event, context)
        Path(os.environ["BENCH_MODULES"]).write_text(str(len(sys.modules)))
        return answer

    return note_afterwards
