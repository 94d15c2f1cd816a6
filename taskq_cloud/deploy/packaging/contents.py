"""What goes into a package: the application's own modules, this library, and the wheels of what they require.

The library is the one that makes the package, and its dependencies are of the versions installed beside it: what has
been tested here is what runs there. botocore is Lambda's own unless it is asked for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from taskq_cloud import errors
from taskq_cloud.deploy.packaging.target import Target
from taskq_cloud.errors import ImproperlyConfigured

LIBRARY: Final = "taskq-cloud"
_LIBRARY_FOLDER: Final = Path(errors.__file__).parent
LEFT_OUT: Final = frozenset({"__main__.py", "cli", "deploy", "testing"})
"""Of this library: what no function imports."""
_NOT_IN_A_FUNCTION: Final = frozenset({"click"})
_INSTALLERS_OWN: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
"""Of a distribution's metadata: they differ from machine to machine, and a removed script is still in RECORD."""
_NOT_SHIPPED: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, beside the library.

    Args:
        requirements: of the application, as pip reads them: ``"requests==2.32"``.
        files: requirement files.
        extras: of this library: ``"msgpack"``.
        sdk: whether botocore comes along, of the version installed here.
    """

    requirements: Sequence[str] = ()
    files: Sequence[Path] = ()
    extras: Sequence[str] = ()
    sdk: bool = False


def copy_application(source: Path, names: Iterable[str], destination: Path) -> None:
    """Copy modules and packages, each with all that is in it but caches and hidden files.

    Args:
        source: the folder they are imported from.
        names: of modules or packages at the top of it, or of other files and folders there.
        destination: an empty folder.

    Raises:
        ImproperlyConfigured: there is none of that name.
    """
    for name in names:
        found = next((path for path in (source / name, source / f"{name}.py") if path.exists()), None)
        if found is None:
            raise ImproperlyConfigured(f"no module, package, file or folder {name!r} in {source}")
        if found.is_dir():
            shutil.copytree(found, destination / found.name, ignore=_NOT_SHIPPED)
        else:
            shutil.copy2(found, destination / found.name)


def copy_library(destination: Path) -> None:
    """Copy this library, without what no function imports, and its version."""
    package = destination / _LIBRARY_FOLDER.name
    shutil.copytree(_LIBRARY_FOLDER, package, ignore=_NOT_SHIPPED)
    for name in LEFT_OUT:
        path = package / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    version = metadata.version(LIBRARY)
    about = destination / f"{_LIBRARY_FOLDER.name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {LIBRARY}\nVersion: {version}\n")


def install(wanted: Wanted, target: Target, destination: Path) -> None:
    """Install what the library and the application require, as wheels for the target.

    Raises:
        ImproperlyConfigured: pip is not there, or could not: says what it said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        requirements, extras = Path(scratch, "requirements.txt"), set(wanted.extras)
        lines = list(wanted.requirements)
        for path in wanted.files:
            of_file, its_extras = _without_library(path)
            lines += of_file
            extras |= its_extras
        pinned = list(_pinned(_of_library(extras, target), target))
        requirements.write_text("\n".join([*pinned, *(_sdk() if wanted.sdk else ()), *lines]))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--target", str(destination), "--only-binary", ":all:", "--implementation", "cp"]
        command += ["--python-version", target.python, "--requirement", str(requirements)]
        command += [f"--platform={platform}" for platform in target.platforms]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][-1:] or [done.stderr.strip()]
        raise ImproperlyConfigured(
            f"pip can't install what the package needs for Python {target.python} on {target.architecture}: {said[0]}"
        )
    _clean(destination)


def _of_library(extras: Iterable[str], target: Target) -> Iterator[str]:
    known = {canonicalize_name(name) for name in metadata.metadata(LIBRARY).get_all("Provides-Extra") or ()}
    for extra in sorted(map(canonicalize_name, extras)):
        if extra not in known:
            raise ImproperlyConfigured(f"{LIBRARY} has no extra {extra!r}: {', '.join(sorted(known))}")
        # Of these a function has its own, or no use.
        if extra not in ("lambda", "aws"):
            yield from _requires(LIBRARY, target, extra)
    yield from _requires(LIBRARY, target, "")


def _requires(name: str, target: Target, extra: str = "") -> Iterator[str]:
    for text in metadata.requires(name) or ():
        required = Requirement(text)
        of_extra = required.marker is not None and "extra" in str(required.marker)
        if of_extra != bool(extra):
            continue
        if required.marker is None or required.marker.evaluate({**target.marker_environment, "extra": extra}):
            yield canonicalize_name(required.name)


def _pinned(names: Iterable[str], target: Target) -> Iterator[str]:
    """The versions installed here of distributions and of all that they require."""
    waiting, met = sorted(set(names) - _NOT_IN_A_FUNCTION), set[str]()
    while waiting:
        name = waiting.pop()
        if name in met:
            continue
        met.add(name)
        try:
            yield f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield name
            continue
        waiting += sorted(set(_requires(name, target)))


def _sdk() -> list[str]:
    try:
        return [f"botocore=={metadata.version('botocore')}"]
    except metadata.PackageNotFoundError:
        return ["botocore"]


def _without_library(path: Path) -> tuple[list[str], set[str]]:
    """A requirement file's lines but for this library's own, whose extras are told."""
    kept: list[str] = []
    extras: set[str] = set()
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ImproperlyConfigured(f"the requirement file {path} can't be read: {error.strerror}") from error
    for line in lines:
        try:
            required = Requirement(re.sub(r"\s+#.*$", "", line))
        except InvalidRequirement:  # an option, a URL, a comment: pip's to judge
            kept.append(line)
            continue
        if canonicalize_name(required.name) == LIBRARY:
            extras |= required.extras
        else:
            kept.append(line)
    return kept, extras


def _clean(folder: Path) -> None:
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for about in folder.glob("*.dist-info"):
        for name in _INSTALLERS_OWN:
            (about / name).unlink(missing_ok=True)
