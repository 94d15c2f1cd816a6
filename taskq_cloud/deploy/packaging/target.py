"""What a package is made for: Lambda's Python version and processor, its folders and its size limits."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from taskq_cloud.errors import ImproperlyConfigured

ARCHITECTURES: Final = ("x86_64", "arm64")

FUNCTION_FOLDER: Final = "/var/task"
LAYER_FOLDER: Final = "/opt/python"
"""Where Lambda puts what a function's and a layer's archives hold ("Packaging your layer content")."""

LARGEST_UNZIPPED_BYTES: Final = 262_144_000
"""250 MB, of a function and its layers together ("Lambda quotas")."""
LARGEST_UPLOAD_BYTES: Final = 52_428_800
"""50 MB; a larger archive has to be uploaded to S3 first (the same page)."""

_WHEELS: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
_GLIBCS: Final = ((2, 28), (2, 27), (2, 26), (2, 17))
"""Amazon Linux 2 has 2.26. Python 3.12 and newer run on Amazon Linux 2023, which has 2.34."""


@dataclass(frozen=True, slots=True)
class Target:
    """A Lambda runtime.

    Args:
        python: its version: ``"3.13"``.
        architecture: one of ``ARCHITECTURES``.

    Raises:
        ImproperlyConfigured: there is no such runtime.
    """

    python: str
    architecture: str = "x86_64"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d+", self.python) or self.version < (3, 11):
            raise ImproperlyConfigured(f"Python {self.python!r} is none to package for: 3.11 or newer, such as 3.13")
        if self.architecture not in ARCHITECTURES:
            raise ImproperlyConfigured(f"architecture {self.architecture!r} is none of {', '.join(ARCHITECTURES)}")

    @property
    def version(self) -> tuple[int, int]:
        """The Python version as numbers."""
        major, minor = self.python.split(".")
        return int(major), int(minor)

    @property
    def platforms(self) -> list[str]:
        """The wheels' platforms that run there, best first (PEP 600)."""
        newest = (2, 28) if self.version >= (3, 12) else (2, 26)
        of = _WHEELS[self.architecture]
        tags = [f"manylinux_{major}_{minor}_{of}" for major, minor in _GLIBCS if (major, minor) <= newest]
        return [*tags, f"manylinux2014_{of}"]

    @property
    def marker_environment(self) -> dict[str, str]:
        """What environment markers of requirements are held against (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": _WHEELS[self.architecture],
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def interpreter(self) -> str | None:
        """An interpreter of this version that is installed here, or None."""
        if sys.version_info[:2] == self.version:
            return sys.executable
        found = shutil.which(f"python{self.python}")
        # A version manager such as pyenv puts names on the path of versions that can't be started from here.
        return found if found is not None and _is(found, self.version) else None


def _is(interpreter: str, version: tuple[int, int]) -> bool:
    program = f"import sys; sys.exit(sys.version_info[:2] != {version})"
    done = subprocess.run([interpreter, "-I", "-c", program], capture_output=True, check=False)
    return done.returncode == 0
