"""Text: shortened, indented, filled and formatted."""

import io
import re
from collections.abc import Callable
from functools import partial
from pprint import pformat
from textwrap import fill
from typing import Any

__all__ = (
    "abbr",
    "abbrtask",
    "dedent",
    "dedent_initial",
    "ensure_newlines",
    "ensure_sep",
    "fill_paragraphs",
    "indent",
    "join",
    "pluralize",
    "pretty",
    "simple_format",
    "str_to_list",
    "truncate",
)

UNKNOWN_SIMPLE_FORMAT_KEY = """
Unknown format %{0} in string {1!r}.
Possible causes: Did you forget to escape the expand sign (use '%%{0!r}'),
or did you escape and the value was expanded twice? (%%N -> %N -> %hostname)?
""".strip()

RE_FORMAT = re.compile(r"%([%\w])")

StringIO = io.StringIO


def str_to_list(s: Any) -> Any:
    """Return the parts between commas, and a value that isn't text as it is."""
    return s.split(",") if isinstance(s, str) else s


def dedent_initial(s: str, n: int = 4) -> str:
    """Return the text without ``n`` spaces at its beginning, if it has as many."""
    return s.removeprefix(" " * n)


def dedent(s: str, sep: str = "\n") -> str:
    """Return the text without the four spaces before each line."""
    return sep.join(map(dedent_initial, s.splitlines()))


def fill_paragraphs(s: str, width: int, sep: str = "\n") -> str:
    """Return the text with no line longer than ``width``."""
    return sep.join(fill(paragraph, width) for paragraph in s.split(sep))


def join(texts: Any, sep: str = "\n") -> str:
    """Return the texts that aren't empty, with ``sep`` between them."""
    return sep.join(filter(None, texts))


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """Return the text with as many ``sep`` added as it lacks of ``n``."""
    return s + sep * (n - s.count(sep))


ensure_newlines = partial(ensure_sep, "\n")


def abbr(S: Any, max: int, ellipsis: Any = "...") -> Any:
    """Return the text cut to ``max`` characters, the ellipsis included; ??? stands for None."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    if not isinstance(ellipsis, str):
        return S[:max]
    return S[: max - len(ellipsis)] + ellipsis or S[:max]


def abbrtask(S: Any, max: int) -> Any:
    """Return the name of a task with its module cut, so that it has ``max`` characters."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    module, _, name = S.rpartition(".")
    return f"{abbr(module, max - len(name) - 3, ellipsis=False)}[.]{name}"


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Return the text with ``indent`` spaces before each line."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """Return the text cut at the last word before ``maxlen`` characters."""
    return s[:maxlen].rsplit(" ", 1)[0] + suffix if maxlen and len(s) >= maxlen else s


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """Return the word for ``n`` things."""
    return text if n == 1 else text + suffix


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """Return a value as a person reads it best on a console."""
    if isinstance(value, dict):
        return f"{sep} {pformat(value, 4, nl_width)[1:]}"
    if isinstance(value, tuple):
        return f"{sep}    {pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


def match_case(s: str, other: str) -> str:
    """Return the text in capitals if the other text is, else in small letters."""
    return s.upper() if other.isupper() else s.lower()


def simple_format(
    s: str,
    keys: dict[str, str | Callable[[], str]],
    pattern: re.Pattern[str] = RE_FORMAT,
    expand: str = r"\1",
) -> str:
    """Return the text with each ``%x`` replaced by the key ``x``, which may be a function.

    Raises:
        ValueError: if the text names a key that isn't there.
    """
    if not s:
        return s
    keys.setdefault("%", "%")

    def resolve(match: re.Match[str]) -> str:
        key = match.expand(expand)
        if key not in keys:
            raise ValueError(UNKNOWN_SIMPLE_FORMAT_KEY.format(key, s))
        value = keys[key]
        return value() if callable(value) else value

    return pattern.sub(resolve, s)


def remove_repeating_from_task(task_name: Any, s: str) -> str:
    """Return the text with the module of this task's name only where it comes first.

    ``remove_repeating_from_task("tasks.add", "tasks.add(2), tasks.mul(3)")`` gives ``"tasks.add(2), mul(3)"``.
    """
    module = str(task_name).rpartition(".")[0]
    return remove_repeating(module + ".", s) if module else s


def remove_repeating(substr: str, s: str) -> str:
    """Return the text with ``substr`` only where it comes first, or is a part of a longer name."""
    head, found, rest = s.partition(substr)
    if not found:
        return s
    # A match right behind another one follows the last character of ``substr``.
    kept = ""
    parts = rest.split(substr)
    for number, part in enumerate(parts[:-1]):
        before = part[-1:] or (substr[-1:] if number else "")
        inside_a_name = before.isalnum() or before in ("_", ".", "-")
        kept += part + (substr if inside_a_name else "")
    return head + found + kept + parts[-1]


class WhateverIO(StringIO):
    """A text stream that also takes bytes."""

    def __init__(self, v: bytes | str | None = None, *a: Any, **kw: Any) -> None:
        super().__init__(v.decode() if isinstance(v, bytes) else v, *a, **kw)

    def write(self, data: bytes | str) -> int:
        """Write bytes or text."""
        return super().write(data.decode() if isinstance(data, bytes) else data)
