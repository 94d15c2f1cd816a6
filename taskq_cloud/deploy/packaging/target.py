"""The Lambda runtime that a package is built for: Python version, processor, folders and size limits."""

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
"""The folders that Lambda unpacks the archives of a function and of a layer into (Lambda Developer Guide, "Packaging
your layer content")."""

LARGEST_UNZIPPED_BYTES: Final = 262_144_000
"""250 MB for a function and its layers together (Lambda Developer Guide, "Lambda quotas")."""
LARGEST_UPLOAD_BYTES: Final = 52_428_800
"""50 MB; a larger archive has to be uploaded to S3 first (Lambda Developer Guide, "Lambda quotas")."""

_WHEELS: Final = {"x86_64": "x86_64", "arm64": "aarch64"}
_GLIBCS: Final = ((2, 28), (2, 27), (2, 26), (2, 17))
"""The versions of glibc that wheels may need, best first. Amazon Linux 2 has glibc 2.26. Python 3.12 and newer run on
Amazon Linux 2023, which has glibc 2.34."""


@dataclass(frozen=True, slots=True)
class Target:
    """A Lambda runtime.

    Args:
        python: its Python version: ``"3.13"``.
        architecture: its processor, one of ``ARCHITECTURES``.

    Raises:
        ImproperlyConfigured: there is no such runtime.
    """

    python: str
    architecture: str = "x86_64"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d+", self.python) or self.version < (3, 11):
            raise ImproperlyConfigured(
                f"Python {self.python!r} isn't a version to package for: choose 3.11 or newer, such as 3.13"
            )
        if self.architecture not in ARCHITECTURES:
            raise ImproperlyConfigured(
                f"architecture {self.architecture!r} is not supported: choose one of {', '.join(ARCHITECTURES)}"
            )

    @property
    def version(self) -> tuple[int, int]:
        """The Python version as numbers."""
        major, minor = self.python.split(".")
        return int(major), int(minor)

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that the runtime can use, best first (PEP 600)."""
        newest = (2, 28) if self.version >= (3, 12) else (2, 26)
        machine = _WHEELS[self.architecture]
        tags = [f"manylinux_{major}_{minor}_{machine}" for major, minor in _GLIBCS if (major, minor) <= newest]
        return [*tags, f"manylinux2014_{machine}"]

    @property
    def marker_environment(self) -> dict[str, str]:
        """The values that environment markers of requirements are evaluated with (PEP 508)."""
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
        """Return the path of an interpreter of this version; None if none is installed here."""
        if sys.version_info[:2] == self.version:
            return sys.executable
        found = shutil.which(f"python{self.python}")
        # A version manager such as pyenv puts interpreters on the path that don't start from here.
        return found if found is not None and _is(found, self.version) else None


def _is(interpreter: str, version: tuple[int, int]) -> bool:
    program = f"import sys; sys.exit(sys.version_info[:2] != {version})"
    done = subprocess.run([interpreter, "-I", "-c", program], capture_output=True, check=False)
    return done.returncode == 0
