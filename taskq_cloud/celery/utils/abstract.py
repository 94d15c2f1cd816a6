"""The interfaces of tasks and of signatures (``CallableTask``, ``CallableSignature``), which any class may satisfy.

A class satisfies an interface by deriving from it, by registering with it, or by having the attributes it names.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

__all__ = ("CallableSignature", "CallableTask")

C = TypeVar("C", bound=type)


class _Interface(metaclass=ABCMeta):  # noqa: B024 - the interfaces have the abstract methods
    """The base class of the interfaces."""

    __required_attributes__: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def _subclasshook_using(cls, parent: type, other: type) -> Any:
        """Answer for ``parent`` alone whether a class has all attributes that the interface requires."""
        if cls is not parent:
            return NotImplemented
        defined = {name for each in other.__mro__ for name in vars(each)}
        return cls.__required_attributes__ <= defined or NotImplemented

    @classmethod
    def register(cls, other: C) -> C:
        """Declare that a class satisfies the interface; also a decorator of the class."""
        ABCMeta.register(cls, other)
        return other


class CallableTask(_Interface, Callable[..., Any]):  # type: ignore[misc]  # the interface has no types of arguments
    """The interface of a task."""

    __required_attributes__ = frozenset({"delay", "apply_async", "apply"})

    @abstractmethod
    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send a call with these arguments."""

    @abstractmethod
    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Send a call."""

    @abstractmethod
    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run in place."""

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        return cls._subclasshook_using(CallableTask, other)


class CallableSignature(CallableTask):
    """The interface of a signature."""

    __required_attributes__ = frozenset({"clone", "freeze", "set", "link", "link_error", "__or__"})

    @property
    @abstractmethod
    def name(self) -> Any:
        """The task's name."""

    @property
    @abstractmethod
    def type(self) -> Any:
        """The task."""

    @property
    @abstractmethod
    def app(self) -> Any:
        """The application."""

    @property
    @abstractmethod
    def id(self) -> Any:
        """The id of the task that the signature was frozen with."""

    @property
    @abstractmethod
    def task(self) -> Any:
        """The task's name."""

    @property
    @abstractmethod
    def args(self) -> Any:
        """The positional arguments."""

    @property
    @abstractmethod
    def kwargs(self) -> Any:
        """The keyword arguments."""

    @property
    @abstractmethod
    def options(self) -> Any:
        """The options of the call."""

    @property
    @abstractmethod
    def subtask_type(self) -> Any:
        """The kind of the signature; None for a single task."""

    @property
    @abstractmethod
    def chord_size(self) -> Any:
        """The number of tasks that a chord waits for."""

    @property
    @abstractmethod
    def immutable(self) -> Any:
        """Whether the signature takes no further arguments."""

    @abstractmethod
    def clone(self, args: Any = None, kwargs: Any = None) -> Any:
        """Copy the signature."""

    @abstractmethod
    def freeze(
        self, id: Any = None, group_id: Any = None, chord: Any = None, root_id: Any = None, group_index: Any = None
    ) -> Any:
        """Give the signature an id, and return its result."""

    @abstractmethod
    def set(self, immutable: Any = None, **options: Any) -> Any:
        """Change options."""

    @abstractmethod
    def link(self, callback: Any) -> Any:
        """Add a callback."""

    @abstractmethod
    def link_error(self, errback: Any) -> Any:
        """Add an errback."""

    @abstractmethod
    def __or__(self, other: Any) -> Any: ...

    @abstractmethod
    def __invert__(self) -> Any: ...

    @classmethod
    def __subclasshook__(cls, other: Any) -> Any:
        return cls._subclasshook_using(CallableSignature, other)
