"""Signals of processes by name: ``Signals``."""

import numbers
import signal as _signal
from collections.abc import Iterable
from typing import Any, Final

__all__ = ("SIGMAP", "SIGNAMES", "Signals")

SIGNAMES: Final = {name for name in dir(_signal) if name.startswith("SIG") and "_" not in name}
SIGMAP: Final = {getattr(_signal, name): name for name in SIGNAMES}
"""The names of signals, by number."""


class Signals:
    """The handlers of signals: ``signals["INT"] = handler``. A signal that the system doesn't have is ignored."""

    ignored = _signal.SIG_IGN
    default = _signal.SIG_DFL

    def arm_alarm(self, seconds: float) -> None:
        """Have SIGALRM sent to this process after a time."""
        _signal.setitimer(_signal.ITIMER_REAL, seconds)

    def reset_alarm(self) -> int:
        """Have no SIGALRM sent."""
        return _signal.alarm(0)

    def supported(self, name: Any) -> bool:
        """Return whether the system has a signal."""
        try:
            self.signum(name)
        except AttributeError:
            return False
        return True

    def signum(self, name: Any) -> Any:
        """Return the number of a signal.

        Args:
            name: the name, in capitals, with or without ``SIG``; a number is returned as it is.

        Raises:
            TypeError: the name isn't text in capitals.
            AttributeError: the system has no such signal.
        """
        if isinstance(name, numbers.Integral):
            return name
        if not isinstance(name, str) or not name.isupper():
            raise TypeError("signal name must be uppercase string.")
        return getattr(_signal, name if name.startswith("SIG") else f"SIG{name}")

    def reset(self, *signal_names: Any) -> None:
        """Give signals their default handlers."""
        self.update((name, self.default) for name in signal_names)

    def ignore(self, *names: Any) -> None:
        """Ignore signals."""
        self.update((name, self.ignored) for name in names)

    def __getitem__(self, name: Any) -> Any:
        return _signal.getsignal(self.signum(name))

    def __setitem__(self, name: Any, handler: Any) -> None:
        try:
            _signal.signal(self.signum(name), handler)
        except (
            AttributeError,
            ValueError,
        ):  # no such signal, one without handlers, or another thread than the main one
            return

    def update(self, _d_: Iterable[tuple[Any, Any]] | dict[Any, Any] | None = None, **sigmap: Any) -> None:
        """Set handlers, by the names of signals."""
        for name, handler in {**dict(_d_ or {}), **sigmap}.items():
            self[name] = handler
