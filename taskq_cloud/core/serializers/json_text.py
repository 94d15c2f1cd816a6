"""The parsing of JSON text: by the standard library, and in workers by msgspec where it is installed.

msgspec takes a third of the time. It refuses some texts that Python's ``json`` reads, such as ``NaN`` and halves of
character pairs; those are given to ``json``, whose answer counts. So a text has one value, whatever is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class _Chosen:
    """The parser of this process. It is made once, as ``json.loads`` makes one for each text."""

    decode: Callable[[str], Any] = json.JSONDecoder().decode


def parse(text: str) -> Any:
    """Parse JSON text as ``json.loads`` does.

    Raises:
        ValueError: the text isn't JSON.
        RecursionError: it is nested too deeply.
    """
    return _Chosen.decode(text)


def prefer_msgspec() -> bool:
    """From now on, parse by msgspec, and return True; without the package, do nothing and return False.

    Importing msgspec takes longer than parsing thousands of messages, so only a worker does it.
    """
    try:
        import msgspec
    except ImportError:
        return False
    decoder, by_json = msgspec.json.Decoder(), json.JSONDecoder().decode

    def decode(text: str) -> Any:
        try:
            return decoder.decode(text)
        except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
            return by_json(text)

    _Chosen.decode = decode
    return True
