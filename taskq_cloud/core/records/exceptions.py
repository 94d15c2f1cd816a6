"""Makes the exception of a task anew from its description, for a caller who wants to catch it by its class.

Nothing that the description names is called: neither the class's constructor, which may want other arguments than the
exception has kept, nor anything else. The instance is made by the builtin class that its class is derived from, and is
given the arguments, the text and the notes that the exception had. It has no other attributes.

No module is imported either. If the class isn't in a module that this process has imported, or can't be made, a
``RemoteError`` stands for the exception, which is also an instance of the nearest of its classes that can be had.
"""

from __future__ import annotations

import contextlib
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.core.model.outcome import DESCRIPTION, ErrorInfo

_CELERY_MODULES: Final = frozenset({"celery.exceptions", "celery.backends.base", "billiard.exceptions"})
_READERS_OWN: Final = (errors.TimeoutError, errors.Reject)
"""Classes by which an exception says something about its reader's own call or run, and not about the task."""
_HEAP_TYPE: Final = 1 << 9
"""The flag of a class that isn't built into the interpreter (CPython, ``Py_TPFLAGS_HEAPTYPE``)."""
_MOST_CLASSES: Final = 256
_LONGEST_NAME: Final = 100


class _WithText:
    """The first base of an exception class that can't show its text by itself: the text is that of the description."""

    __slots__ = ()

    def __init_subclass__(cls, **_: Any) -> None:
        """Keep the exception's own class from learning of the new class."""

    def __str__(self) -> str:
        error: ErrorInfo = object.__getattribute__(self, DESCRIPTION)
        return error.message

    def __repr__(self) -> str:
        error: ErrorInfo = object.__getattribute__(self, DESCRIPTION)
        shown = error.exc_message or (error.message,)
        return f"{_last_name(error.exc_type)}({', '.join(map(repr, shown))})"

    def __getattr__(self, name: str) -> Any:
        # The class's own __getattr__ may need attributes that are lost, and fail where an AttributeError is expected.
        raise AttributeError(f"the exception was made anew from a task's record, which does not have {name!r}")

    def __reduce__(self) -> tuple[Callable[[ErrorInfo], Exception], tuple[ErrorInfo]]:
        # The class is not found by its name, so it is made anew where the exception is copied or unpickled.
        return rebuild, (object.__getattribute__(self, DESCRIPTION),)


def rebuild(error: ErrorInfo) -> Exception:
    """Make an exception from its description. Whatever the description holds, an exception is returned.

    Args:
        error: the description, which may come from a store that anybody can write to.
    """
    kind = _class_of(error.exc_module, error.exc_type)
    made = None if kind is None or issubclass(kind, _READERS_OWN) else _own(kind, error)
    if made is None:  # and not whether it counts as true: its class may have a length
        made = _stand_in(kind, error)
    if error.notes:
        made.__dict__["__notes__"] = list(error.notes)  # not by add_note: the class may forbid new attributes
    return made


def _class_of(module: str, name: str) -> type[Exception] | None:
    found: Any = errors if module in _CELERY_MODULES else sys.modules.get(module)
    for part in name.split("."):
        # An attribute that is computed, such as a module that is imported when it is first used, is not looked at.
        found = getattr(found, "__dict__", {}).get(part)
    # SystemExit and its like are left out: a stored document must not end its reader's process or cancel its coroutine.
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _own(kind: type[Exception], error: ErrorInfo) -> Exception | None:
    """An instance of the exception's own class; None if none can be had."""
    made = _instance(kind, error)
    if made is None or _shows(made, error):
        return made
    with_text = _derived(kind.__name__, kind.__qualname__, kind.__module__, (_WithText, kind))
    return None if with_text is None else _described_instance(with_text, error)


def _stand_in(kind: type[Exception] | None, error: ErrorInfo) -> Exception:
    """A ``RemoteError`` that is an instance of the nearest class that can be had."""
    remote, name = errors.RemoteError, f"RemoteError[{_last_name(error.exc_type)}]"
    made: Exception | None = None
    for base in _nearest(kind, error):
        bases = (_WithText, base) if issubclass(base, remote) else (_WithText, remote, base)
        derived = _derived(name, name, remote.__module__, bases)
        made = None if derived is None else _described_instance(derived, error)
        if made is not None:
            made.__dict__.update(exc_type=error.exc_type, exc_module=error.exc_module)
            return made
    plain = remote(*error.exc_message, exc_type=error.exc_type, exc_module=error.exc_module)
    plain.__dict__[DESCRIPTION] = error
    return plain


def _nearest(kind: type[Exception] | None, error: ErrorInfo) -> Iterator[type[Exception]]:
    """The exception's classes that this process has and that say more than ``RemoteError`` does, the nearest first."""
    named = kind.__mro__ if kind is not None else (_class_of(module, name) for module, name in error.bases)
    for each in named:
        if each is None or not issubclass(each, Exception) or issubclass(each, _READERS_OWN):
            continue
        if not issubclass(errors.RemoteError, each):
            yield each
    if error.text is not None:
        yield errors.RemoteError  # with the text, which the arguments don't say


def _described_instance(kind: type[Exception], error: ErrorInfo) -> Exception | None:
    made = _instance(kind, error)
    if made is not None:
        made.__dict__[DESCRIPTION] = error
    return made


def _instance(kind: type[Exception], error: ErrorInfo) -> Exception | None:
    """An instance with its arguments, made without the class's own constructor; None if that is impossible."""
    builtin: Any = kind
    while builtin.__flags__ & _HEAP_TYPE:
        builtin = builtin.__base__
    arguments: tuple[Any, ...] = tuple(error.exc_message)
    if issubclass(kind, ExceptionGroup):
        arguments = (*arguments[:1], [rebuild(member) for member in error.members])
    made: Exception | None = None
    for given in (arguments, ()):
        with contextlib.suppress(Exception):
            made = builtin.__new__(kind, *given)
            break
    if made is None:
        return None
    with contextlib.suppress(Exception):  # the arguments need not be those that the builtin class wants
        builtin.__init__(made, *arguments)  # sets what the class is known for, such as the errno of an OSError
    BaseException.args.__set__(made, arguments)  # type: ignore[attr-defined]  # a descriptor, which typeshed hides
    return made


def _shows(made: Exception, error: ErrorInfo) -> bool:
    """Whether an exception can be shown, and shows the text that it had."""
    try:
        text = str(made)
        repr(made)
        getattr(made, "__notes__", None)  # is looked for by everything that prints exceptions
    except Exception:  # noqa: BLE001 - the class's methods may need attributes that are lost
        return False
    return error.text is None or text == error.text


@lru_cache(_MOST_CLASSES)
def _derived(name: str, qualified_name: str, module: str, bases: tuple[type, ...]) -> type[Exception] | None:
    metaclass = type(bases[-1])
    if metaclass not in (type, ABCMeta):
        return None
    try:
        derived: type[Exception] = metaclass(name, bases, {"__module__": module, "__qualname__": qualified_name})
    except (TypeError, ValueError):  # the class is final, the order of the bases is impossible, or the name is no name
        return None
    return derived


def _last_name(qualified_name: str) -> str:
    return qualified_name.rpartition(".")[2][:_LONGEST_NAME]
