"""Builds the archive of a function, and of a layer if one is requested."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taskq_cloud.deploy.packaging import archive, bytecode, contents
from taskq_cloud.deploy.packaging.archive import Archive
from taskq_cloud.deploy.packaging.contents import Requirements
from taskq_cloud.deploy.packaging.target import FUNCTION_FOLDER, LARGEST_UNZIPPED_BYTES, LAYER_FOLDER, Target
from taskq_cloud.errors import ImproperlyConfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The input of a build.

    Args:
        app: the application's path, as in ``TASKQ_APP``: ``"shop.tasks:app"``.
        source: the folder that its modules are imported from.
        include: names at the top of ``source`` to package in addition to the application's own package.
        requirements: the packages to install.
        target: the Lambda runtime to build for.
        output: the folder for the archives.
        layer: whether the library and the requirements go into a separate layer.
    """

    app: str
    source: Path
    target: Target
    output: Path
    include: Sequence[str] = ()
    requirements: Requirements = field(default_factory=Requirements)
    layer: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """The result of a build.

    Args:
        archives: the archive of the function, and that of the layer if there is one.
        modules: the names of the modules that a cold start imports; None if no interpreter of the target's version is
            installed here.
    """

    archives: tuple[Archive, ...]
    modules: tuple[str, ...] | None

    @property
    def unzipped_bytes(self) -> int:
        """The size of the files in all archives together, in bytes."""
        return sum(each.unzipped_bytes for each in self.archives)


def build(plan: Plan) -> Package:
    """Build a package; a plan with unchanged files, versions and interpreter gives unchanged bytes.

    Raises:
        ImproperlyConfigured: a module does not exist, a requirement can't be installed, the package doesn't start, or
            it is larger than Lambda allows. No archive is written then.
    """
    with tempfile.TemporaryDirectory() as scratch:
        function, layer = Path(scratch, "function"), Path(scratch, "layer")
        libraries = layer if plan.layer else function
        for folder in {function, libraries}:
            folder.mkdir()
        top = plan.app.partition(":")[0].partition(".")[0]
        contents.copy_application(plan.source, dict.fromkeys([top, *plan.include]), function)
        contents.copy_library(libraries, contents.left_out(function, plan.requirements))
        contents.install(plan.requirements, plan.target, libraries)
        parts = [(function, FUNCTION_FOLDER, "function.zip", "")]
        if plan.layer:
            parts.append((layer, LAYER_FOLDER, "layer.zip", "python/"))
        modules = _compile_and_start(plan, parts)
        _check_size(sum(_bytes_in(folder) for folder, *_ in parts))
        archives = tuple(archive.write(folder, plan.output / name, prefix) for folder, _, name, prefix in parts)
    return Package(archives, modules)


def _compile_and_start(plan: Plan, parts: Sequence[tuple[Path, str, str, str]]) -> tuple[str, ...] | None:
    interpreter = plan.target.interpreter()
    if interpreter is None:
        return None
    for folder, runs_in, *_ in parts:
        bytecode.compile_all(interpreter, folder, runs_in)
    return tuple(
        bytecode.start(interpreter, [folder for folder, *_ in parts], plan.app, producer=plan.requirements.producer)
    )


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _check_size(unzipped_bytes: int) -> None:
    if unzipped_bytes > LARGEST_UNZIPPED_BYTES:
        raise ImproperlyConfigured(
            f"the package is {unzipped_bytes:,} bytes unzipped, but Lambda allows {LARGEST_UNZIPPED_BYTES:,} with all"
            " layers: remove requirements, or deploy a container image"
        )
