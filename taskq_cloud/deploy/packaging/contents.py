"""Collects the contents of a package: the application's modules, this library, and the wheels that they require.

The library is the one that builds the package, and its dependencies have the versions that are installed with it, so
the versions that were tested here run in the function. botocore is Lambda's own unless it is requested.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from taskq_cloud import errors
from taskq_cloud.deploy.packaging.adapters import left_out_adapters
from taskq_cloud.deploy.packaging.requirement_files import LIBRARY, read_requirements
from taskq_cloud.deploy.packaging.target import Target
from taskq_cloud.errors import ImproperlyConfigured

_LIBRARY_FOLDER: Final = Path(errors.__file__).parent
_LEFT_OUT: Final = frozenset({"__main__.py", "cli", "deploy", "testing"})
"""The parts of this library that no function imports."""
_LEFT_OUT_OF_A_PRODUCER: Final = frozenset({"celery_backend", "lambda_function.py", "pools", "serverless", "worker"})
"""The parts that a function which only calls tasks doesn't import either."""
_CELERYS_INTERFACE: Final = "celery"
"""The part that only applications import that are written for Celery. It is a third of the library."""
_NOT_IN_A_FUNCTION: Final = frozenset({"click"})
_NOT_IN_A_PRODUCER: Final = frozenset({"pydantic", "pydantic-settings", "tzdata"})
"""Settings are read without pydantic, except for files of variables; only periodic tasks need time zones."""
_INSTALLER_FILES: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
"""Metadata files that are left out: they differ between machines, and RECORD lists scripts that were removed."""
_NOT_SHIPPED: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True, slots=True)
class Requirements:
    """The packages that an application requires, besides this library.

    Args:
        lines: single requirements, as pip reads them: ``"requests==2.32"``.
        files: requirement files.
        extras: extras of this library: ``"msgpack"``.
        sdk: whether to package botocore, in the version that is installed here.
        producer: whether the package only calls tasks, so that this library needs none of its own requirements.
    """

    lines: Sequence[str] = ()
    files: Sequence[Path] = ()
    extras: Sequence[str] = ()
    sdk: bool = False
    producer: bool = False


def copy_application(source: Path, names: Iterable[str], destination: Path) -> None:
    """Copy modules and packages with everything in them, except caches and hidden files.

    Args:
        source: the folder that they are imported from.
        names: the names of modules, packages, files or folders at the top of that folder.
        destination: an empty folder.

    Raises:
        ImproperlyConfigured: the folder contains nothing of that name, or a symbolic link leads out of it, or in a
            circle.
    """
    for name in names:
        found = next((path for path in (source / name, source / f"{name}.py") if path.exists()), None)
        if found is None:
            raise ImproperlyConfigured(
                f"there is no module, package, file or folder {name!r} in {source}: check --source"
            )
        _check_links(found, source.resolve())
        if found.is_dir():
            shutil.copytree(found, destination / found.name, ignore=_NOT_SHIPPED)
        else:
            shutil.copy2(found, destination / found.name)


def _check_links(path: Path, root: Path, within: tuple[Path, ...] = ()) -> None:
    """Check that only files of the source folder are copied, as links are followed.

    Args:
        path: a file or folder that is to be copied.
        root: the source folder, without links.
        within: the folders that it is in, without links.
    """
    leads_to = path.resolve()
    if not leads_to.is_relative_to(root):
        raise ImproperlyConfigured(
            f"{path} leads to {leads_to}, which is outside of the source folder {root} and is not packaged: copy it "
            "into the folder, or leave it out"
        )
    hidden = any(part.startswith(".") for part in leads_to.relative_to(root).parts)
    if path.is_symlink() and hidden:
        raise ImproperlyConfigured(
            f"{path} is a link to {leads_to}, and hidden files are not packaged: remove the link"
        )
    if not path.is_dir():
        return
    if leads_to in within:
        raise ImproperlyConfigured(f"{path} is a link to a folder that contains the link: remove it")
    names = sorted(each.name for each in path.iterdir())
    for name in sorted({*names} - _NOT_SHIPPED(str(path), names)):
        _check_links(path / name, root, (*within, leads_to))


def left_out(application: Path, requirements: Requirements) -> frozenset[str]:
    """The parts of this library that an application doesn't need.

    Args:
        application: the folder of the application's modules.
        requirements: what the application requires.
    """
    producer = requirements.producer
    extras = {*requirements.extras, *read_requirements(requirements.files).extras}
    if _names(application, "contrib.webhooks"):
        extras.add("webhooks")
    adapters = frozenset(left_out_adapters(_LIBRARY_FOLDER, extras))
    names = adapters | _LEFT_OUT | (_LEFT_OUT_OF_A_PRODUCER if producer else frozenset())
    return names if _names(application, _CELERYS_INTERFACE) else names | {_CELERYS_INTERFACE}


def _names(application: Path, part: str) -> bool:
    """Whether a module of an application names a part of this library."""
    before, _, name = f"{_LIBRARY_FOLDER.name}.{part}".rpartition(".")
    texts = (f"{before}.{name}".encode(), f"from {before} import {name}".encode())
    sources = (path.read_bytes() for path in application.rglob("*.py"))
    return any(text in source for source in sources for text in texts)


def copy_library(destination: Path, left_out: Iterable[str] = (*_LEFT_OUT, _CELERYS_INTERFACE)) -> None:
    """Copy this library without some parts, by default those that few functions import, and write down its version."""
    package = destination / _LIBRARY_FOLDER.name
    shutil.copytree(_LIBRARY_FOLDER, package, ignore=_NOT_SHIPPED)
    for name in left_out:
        path = package / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    version = metadata.version(LIBRARY)
    about = destination / f"{_LIBRARY_FOLDER.name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {LIBRARY}\nVersion: {version}\n")


def install(requirements: Requirements, target: Target, destination: Path) -> None:
    """Install the requirements of the library and of the application, as wheels for the target.

    If the application's requirements have hashes, pip demands a hash of everything that it installs with them. Those of
    the library have none, so they are then installed by themselves, without what the application has pinned.

    Args:
        requirements: the application's requirements.
        target: the Lambda runtime.
        destination: the folder to install into.

    Raises:
        ImproperlyConfigured: pip is missing or failed; the error quotes pip's error.
    """
    destination.mkdir(exist_ok=True)
    given = read_requirements(requirements.files)
    lines = [*given.lines, *requirements.lines]
    of_library = {*_of_library({*requirements.extras, *given.extras}, target)}
    if requirements.producer:
        of_library -= _NOT_IN_A_PRODUCER
    pinned = [*_pinned(of_library, target)]
    pinned += _sdk() if requirements.sdk else ()
    if not (pinned or lines):
        return
    if not given.hashed:
        _pip_install([*pinned, *lines], target, destination)
    else:
        _pip_install(lines, target, destination)
        rest = [line for line in pinned if canonicalize_name(Requirement(line).name) not in given.names]
        unknown = [line for line in rest if "==" not in line]
        if unknown:
            raise ImproperlyConfigured(
                f"the requirements have hashes, but {', '.join(unknown)}, which {LIBRARY} requires, is neither among "
                "them nor installed here: add it to the requirement file, with its hashes"
            )
        if rest:
            _pip_install([*given.sources, *rest], target, destination, "--no-deps")
    _clean(destination)


def _pip_install(lines: Sequence[str], target: Target, destination: Path, *options: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "requirements.txt")
        file.write_text("\n".join(lines))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--target", str(destination), "--only-binary", ":all:", "--implementation", "cp", *options]
        command += ["--python-version", target.python, "--requirement", str(file)]
        command += [f"--platform={platform}" for platform in target.platforms]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][-1:] or [done.stderr.strip()]
        raise ImproperlyConfigured(
            f"pip can't install the requirements for Python {target.python} on {target.architecture}: {said[0]}"
        )


def _of_library(extras: Iterable[str], target: Target) -> Iterator[str]:
    known = {canonicalize_name(name) for name in metadata.metadata(LIBRARY).get_all("Provides-Extra") or ()}
    for extra in sorted(map(canonicalize_name, extras)):
        if extra not in known:
            raise ImproperlyConfigured(f"{LIBRARY} has no extra {extra!r}; its extras are: {', '.join(sorted(known))}")
        # Lambda's runtime provides the packages of these extras, or a function has no use for them.
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
    """Pin distributions, and all distributions that they require, to the versions that are installed here."""
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


def _clean(folder: Path) -> None:
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for about in folder.glob("*.dist-info"):
        for name in _INSTALLER_FILES:
            (about / name).unlink(missing_ok=True)
