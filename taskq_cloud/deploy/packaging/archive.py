"""Zips a folder reproducibly: the files are sorted, and times, owners and modes of this machine are left out."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can store; every file has it."""
_READABLE: Final = 0o100644 << 16
_EXECUTABLE: Final = 0o100755 << 16
_UNIX: Final = 3


@dataclass(frozen=True, slots=True)
class Archive:
    """A written zip archive, with its size and the size of the files in it, in bytes."""

    path: Path
    zipped_bytes: int
    unzipped_bytes: int


def write(folder: Path, path: Path, prefix: str = "") -> Archive:
    """Write the files of a folder to a zip archive.

    Args:
        folder: the folder.
        path: the path of the archive; its folder is created.
        prefix: the prefix of every file's name in the archive: ``"python/"`` in a layer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unzipped = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            name = prefix + file.relative_to(folder).as_posix()
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = _EXECUTABLE if ".so" in file.suffixes else _READABLE
            content = file.read_bytes()
            unzipped += len(content)
            archive.writestr(entry, content)
    return Archive(path, path.stat().st_size, unzipped)
