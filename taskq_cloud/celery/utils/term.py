"""Coloured text for terminals."""

import base64
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ("colored",)

BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE = range(8)
OP_SEQ = "\033[%dm"
RESET_SEQ = "\033[0m"
COLOR_SEQ = "\033[1;%dm"

IS_WINDOWS = platform.system() == "Windows"

ITERM_PROFILE = os.environ.get("ITERM_PROFILE")
TERM = os.environ.get("TERM")
TERM_IS_SCREEN = TERM and TERM.startswith("screen")

# A terminal multiplexer passes an unknown sequence on only if it is wrapped, with each escape doubled.
_IMG_PRE = "\033Ptmux;\033\033]" if TERM_IS_SCREEN else "\033]"
_IMG_POST = "\a\033\\" if TERM_IS_SCREEN else "\a"


def fg(s: int) -> str:
    """Return the sequence that begins a colour."""
    return COLOR_SEQ % s


def _styled(op: str, name: str) -> Callable[..., "colored"]:
    def method(self: "colored", *s: object) -> "colored":
        return self.node(s, op)

    method.__name__, method.__doc__ = name, f"Return the values in this style: {name}."
    return method


class colored:
    """Text in a colour or a style, which may hold other coloured texts.

    Args:
        s: the parts of the text.
        kwargs: ``enabled=False`` leaves the text plain; ``op`` is the sequence before it.
    """

    black = _styled(fg(30 + BLACK), "black")
    red = _styled(fg(30 + RED), "red")
    green = _styled(fg(30 + GREEN), "green")
    yellow = _styled(fg(30 + YELLOW), "yellow")
    blue = _styled(fg(30 + BLUE), "blue")
    magenta = _styled(fg(30 + MAGENTA), "magenta")
    cyan = _styled(fg(30 + CYAN), "cyan")
    white = _styled(fg(30 + WHITE), "white")
    ired = _styled(fg(40 + RED), "ired")
    igreen = _styled(fg(40 + GREEN), "igreen")
    iyellow = _styled(fg(40 + YELLOW), "iyellow")
    iblue = _styled(fg(40 + BLUE), "iblue")
    imagenta = _styled(fg(40 + MAGENTA), "imagenta")
    icyan = _styled(fg(40 + CYAN), "icyan")
    iwhite = _styled(fg(40 + WHITE), "iwhite")
    bold = _styled(OP_SEQ % 1, "bold")
    underline = _styled(OP_SEQ % 4, "underline")
    blink = _styled(OP_SEQ % 5, "blink")
    reverse = _styled(OP_SEQ % 7, "reverse")
    bright = _styled(OP_SEQ % 8, "bright")

    def __init__(self, *s: object, **kwargs: Any) -> None:
        self.s: tuple[object, ...] = s
        self.enabled: bool = not IS_WINDOWS and kwargs.get("enabled", True)
        self.op: str = kwargs.get("op", "")
        colours = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
        self.names: dict[str, Any] = {name: getattr(self, name) for name in colours}

    def node(self, s: tuple[object, ...], op: str) -> "colored":
        """Return the parts ``s`` after the sequence ``op``."""
        return type(self)(*s, enabled=self.enabled, op=op)

    def reset(self, *s: object) -> "colored":
        """Return the values after the sequence that ends all styles."""
        return self.node(s or ("",), RESET_SEQ)

    def no_color(self) -> str:
        """Return the text without colours."""
        return "".join(part.no_color() if isinstance(part, colored) else str(part) for part in self.s)

    def embed(self) -> str:
        """Return the text with what begins its style, and without what ends it."""
        return (self.op if self.enabled else "") + "".join(str(part) for part in self.s)

    def __str__(self) -> str:
        return self.embed() + (RESET_SEQ if self.enabled else "")

    def __repr__(self) -> str:
        return repr(self.no_color())

    def __add__(self, other: object) -> str:
        return f"{self}{other}"


def supports_images() -> bool:
    """Tell whether the terminal is one that shows images."""
    try:
        return sys.stdin.isatty() and bool(os.environ.get("ITERM_PROFILE"))
    except AttributeError:
        return False


def _read_as_base64(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")


def imgcat(path: str, inline: int = 1, preserve_aspect_ratio: int = 0, **kwargs: Any) -> str:
    """Return the sequence that shows an image file in a terminal."""
    options = f"1337;File=inline={inline};preserveAspectRatio={preserve_aspect_ratio}:{_read_as_base64(path)}"
    return f"\n{_IMG_PRE}{options}{_IMG_POST}"
