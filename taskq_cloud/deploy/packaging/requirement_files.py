"""Reads requirement files as far as a package needs it: this library's own lines are taken out, and hashes are noticed.

pip reads the lines that are left, so they are kept as they are. Source: pip's documentation, "Requirements File Format"
and "Secure installs".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from taskq_cloud.errors import ImproperlyConfigured

LIBRARY: Final = "taskq-cloud"

_OTHER_FILE: Final = re.compile(r"\s*(-r|--requirement|-c|--constraint)[\s=]*(\S.*?)\s*(?:\s#.*)?")
_SOURCE: Final = re.compile(r"\s*(-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--trusted-host)\b")
_URL: Final = re.compile(r"\w+:")
_COMMENT_OR_OPTION: Final = re.compile(r"\s+(#|--?\w).*$")


@dataclass(frozen=True, slots=True)
class GivenRequirements:
    """The requirements in an application's files.

    Args:
        lines: the lines for pip, without this library.
        names: the names of the distributions in them.
        extras: the extras of this library that are named.
        sources: the lines that say where pip finds distributions.
        hashed: whether pip will demand hashes.
    """

    lines: Sequence[str]
    names: frozenset[str]
    extras: frozenset[str]
    sources: Sequence[str]
    hashed: bool


def read_requirements(paths: Iterable[Path]) -> GivenRequirements:
    """Read requirement files, and the files that they name.

    Raises:
        ImproperlyConfigured: a file can't be read.
    """
    kept: list[str] = []
    names: set[str] = set()
    extras: set[str] = set()
    for line in (line for path in paths for line in _lines_of(path, ())):
        try:
            required = Requirement(_COMMENT_OR_OPTION.sub("", line))
        except InvalidRequirement:  # an option, a URL or a comment
            kept.append(line)
            continue
        if canonicalize_name(required.name) == LIBRARY:
            extras |= required.extras
        else:
            names.add(canonicalize_name(required.name))
            kept.append(line)
    hashed = any("--hash" in line or line.strip() == "--require-hashes" for line in kept)
    sources = [line for line in kept if _SOURCE.match(line)]
    return GivenRequirements(kept, frozenset(names), frozenset(extras), sources, hashed)


def _lines_of(path: Path, readers: tuple[Path, ...]) -> Iterator[str]:
    """The lines of a file and of the files that it names, with paths that don't depend on their folders."""
    if path.resolve() in readers:
        raise ImproperlyConfigured(f"the requirement file {path} names itself")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't text in UTF-8"
        raise ImproperlyConfigured(f"the requirement file {path} can't be read: {reason}") from error
    for line in _joined(text.splitlines()):
        other = _OTHER_FILE.fullmatch(line)
        if other is None or _URL.match(other[2]):
            yield line
        elif other[1] in ("-r", "--requirement"):
            yield from _lines_of(path.parent / other[2], (*readers, path.resolve()))
        else:
            yield f"-c {(path.parent / other[2]).resolve()}"


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Join the lines that end with a backslash to the next ones."""
    before = ""
    for line in lines:
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            before += line[:-1]
        else:
            yield before + line
            before = ""
    if before:
        yield before
