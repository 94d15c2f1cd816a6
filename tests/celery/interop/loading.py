"""Loads the project of the folder ``project`` for Celery, and for ``taskq_cloud.celery`` with its imports changed."""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Final

CELERY: Final = "celery"
OURS: Final = "taskq_cloud.celery"
PACKAGES: Final = (CELERY, OURS)

PROJECT: Final = Path(__file__).with_name("project")
_IMPORT: Final = re.compile(r"^(\s*(?:from|import) )celery\b", re.MULTILINE)


def write_project(package: str, folder: Path) -> Path:
    """Write the project's modules into a folder, with the imports of a package."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in PROJECT.glob("*.py"):
        text = _IMPORT.sub(rf"\g<1>{package}", module.read_text())
        (folder / module.name).write_text(text)
    return folder


def load(folder: Path, module: str = "shop") -> ModuleType:
    """Import a module of a written project anew. It does not become one of ``sys.modules``, which has one of a name."""
    spec = importlib.util.spec_from_file_location(module, folder / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*task attribute is deprecated")
        spec.loader.exec_module(loaded)
    return loaded


class Project:
    """The project, loaded for one package in this process.

    Args:
        package: the package that it imports.
        folder: where its modules are written.
    """

    def __init__(self, package: str, folder: Path) -> None:
        self.package = package
        self.folder = write_project(package, folder)
        self.module = load(self.folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __repr__(self) -> str:
        return f"<the project with {self.package}>"

    def close(self) -> None:
        self.module.app.close()
