"""Makes the archives of a function, and of a layer where that is wanted, and says what came out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taskq_cloud.deploy.packaging import archive, bytecode, contents
from taskq_cloud.deploy.packaging.archive import Archive
from taskq_cloud.deploy.packaging.contents import Wanted
from taskq_cloud.deploy.packaging.target import FUNCTION_FOLDER, LARGEST_UNZIPPED_BYTES, LAYER_FOLDER, Target
from taskq_cloud.errors import ImproperlyConfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to package.

    Args:
        app: the application's path, as ``TASKQ_APP`` will say it: ``"shop.tasks:app"``.
        source: the folder that its modules are imported from.
        include: names at the top of ``source`` that come along, beside the application's own package.
        wanted: what it requires.
        target: what it is made for.
        output: the folder the archives are put into.
        layer: whether the library and the requirements are a layer of their own.
    """

    app: str
    source: Path
    target: Target
    output: Path
    include: Sequence[str] = ()
    wanted: Wanted = field(default_factory=Wanted)
    layer: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """What came out.

    Args:
        archives: the function's, and the layer's where there is one.
        modules: that a cold start imports, by name; None where no interpreter of the target's version is here.
    """

    archives: tuple[Archive, ...]
    modules: tuple[str, ...] | None

    @property
    def unzipped_bytes(self) -> int:
        """Of all archives together."""
        return sum(each.unzipped_bytes for each in self.archives)


def build(plan: Plan) -> Package:
    """Make a package. The same plan over the same files, versions and interpreter makes the same bytes.

    Raises:
        ImproperlyConfigured: a module is not there, a requirement can't be had, the package doesn't start, or it is
            larger than Lambda takes. No archive is written then.
    """
    with tempfile.TemporaryDirectory() as scratch:
        function, layer = Path(scratch, "function"), Path(scratch, "layer")
        libraries = layer if plan.layer else function
        for folder in {function, libraries}:
            folder.mkdir()
        top = plan.app.partition(":")[0].partition(".")[0]
        contents.copy_application(plan.source, dict.fromkeys([top, *plan.include]), function)
        contents.copy_library(libraries)
        contents.install(plan.wanted, plan.target, libraries)
        parts = [(function, FUNCTION_FOLDER, "function.zip", "")]
        if plan.layer:
            parts.append((layer, LAYER_FOLDER, "layer.zip", "python/"))
        modules = _try_out(plan, parts)
        _refuse_too_large(sum(_bytes_in(folder) for folder, *_ in parts))
        archives = tuple(archive.write(folder, plan.output / name, prefix) for folder, _, name, prefix in parts)
    return Package(archives, modules)


def _try_out(plan: Plan, parts: Sequence[tuple[Path, str, str, str]]) -> tuple[str, ...] | None:
    interpreter = plan.target.interpreter()
    if interpreter is None:
        return None
    for folder, runs_in, *_ in parts:
        bytecode.compile_all(interpreter, folder, runs_in)
    return tuple(bytecode.start(interpreter, [folder for folder, *_ in parts], plan.app))


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _refuse_too_large(unzipped_bytes: int) -> None:
    if unzipped_bytes > LARGEST_UNZIPPED_BYTES:
        raise ImproperlyConfigured(
            f"the package is {unzipped_bytes:,} bytes unzipped, and Lambda takes {LARGEST_UNZIPPED_BYTES:,} with all "
            "layers: leave requirements out, or deploy a container image"
        )
