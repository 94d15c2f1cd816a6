"""Lets other packages find this one under the name ``celery``: integrations that import Celery, such as tracing.

    from taskq_cloud.celery import alias

    alias.install()  # before the integration is imported

From then on, ``import celery`` gives ``taskq_cloud.celery``, and ``celery.signals`` is ``taskq_cloud.celery.signals``.
``billiard`` is an alias, too, as integrations import the class of ``einfo`` from there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from taskq_cloud.celery.exceptions import ImproperlyConfigured

_ALIASES: Final = {"celery": __package__, "billiard": f"{__package__}.billiard"}


class _AliasLoader(Loader):
    """Gives a module of this package under another name."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has set the alias's, and the module is the same under both names.
        module.__spec__ = self._spec


class _AliasFinder(MetaPathFinder):
    """Finds the modules of this package under Celery's names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = fullname.partition(".")
        if package not in _ALIASES:
            return None
        module = f"{_ALIASES[package]}.{rest}" if rest else _ALIASES[package]
        return ModuleSpec(fullname, _AliasLoader(module), is_package=path is None)


def install() -> None:
    """Make ``import celery`` give this package, in this process and from now on. A second call does nothing.

    Raises:
        ImproperlyConfigured: Celery itself is imported already.
    """
    if any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        return
    if not _ALIASES.keys().isdisjoint(sys.modules):
        raise ImproperlyConfigured(
            "alias.install(): Celery itself is imported in this process already: call it before anything imports celery"
        )
    sys.meta_path.insert(0, _AliasFinder())
