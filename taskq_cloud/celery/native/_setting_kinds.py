"""The kinds of Celery's settings, by what becomes of them here, and the functions that write the table of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Kind(StrEnum):
    """What becomes of a setting."""

    NATIVE = "native"
    """A native setting has its value."""
    HONOURED = "honoured"
    """This package itself does what the setting says."""
    IGNORED = "no effect"
    """The setting means nothing here; if it is set, a warning says why."""
    REFUSED = "refused"
    """Values that would lose messages or results, or be used in a wrong way, are errors."""


class Setting(NamedTuple):
    """A setting's row of the table.

    Args:
        kind: what becomes of it.
        sentence: what it does here, or why it does nothing.
        native: the native setting that gets its value; None: none does, or a function of several settings decides.
        convert: makes the native value; ``NOTHING`` leaves the native setting as it is.
        quiet: values besides the default that need no warning.
        refused: tells whether a value is refused.
        otherwise: why the setting does nothing, if there is no native setting of that name.
        changed: values that are replaced by others, which a warning says.
    """

    kind: Kind
    sentence: str
    native: str | None = None
    convert: Callable[[Any], Any] | None = None
    quiet: tuple[Any, ...] = ()
    refused: Callable[[Any], bool] | None = None
    otherwise: str = ""
    changed: tuple[Any, ...] = ()


NOTHING: Final = object()
ON: Final = (True,)
OFF: Final = (False,)


def native(
    sentence: str,
    name: str | None = None,
    convert: Callable[[Any], Any] | None = None,
    *,
    otherwise: str = "",
    quiet: tuple[Any, ...] = (),
    changed: tuple[Any, ...] = (),
) -> Setting:
    """Make the row of a setting whose value a native setting gets."""
    return Setting(Kind.NATIVE, sentence, name, convert, quiet, otherwise=otherwise, changed=changed)


def honoured(sentence: str) -> Setting:
    """Make the row of a setting that this package itself honours."""
    return Setting(Kind.HONOURED, sentence)


def ignored(sentence: str, *quiet: Any) -> Setting:
    """Make the row of a setting that has no effect; the values after the sentence need no warning."""
    return Setting(Kind.IGNORED, sentence, quiet=quiet)


def refused(sentence: str, when: Callable[[Any], bool] | None = None) -> Setting:
    """Make the row of a setting of which some values are refused; None: another function decides."""
    return Setting(Kind.REFUSED, sentence, refused=when)


def each(names: str, setting: Setting) -> Mapping[str, Setting]:
    """Make one row for several settings, whose names are separated by blanks."""
    return dict.fromkeys(names.split(), setting)
