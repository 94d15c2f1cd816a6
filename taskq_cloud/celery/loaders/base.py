"""The base class of loaders, and the discovery of tasks in packages."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from taskq_cloud.celery import signals
from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.collections import DictAttribute, force_mapping
from taskq_cloud.celery.utils.functional import maybe_list
from taskq_cloud.celery.utils.imports import NotAPackage, find_module, import_from_cwd, symbol_by_name

__all__ = ("BaseLoader",)

_RACE_PROTECTION = False

CONFIG_INVALID_NAME: Final = """\
Error: Module '{module}' doesn't exist, or it's not a valid \
Python module name.
"""

CONFIG_WITH_SUFFIX: Final = f"""\
{CONFIG_INVALID_NAME}\
Did you mean '{{suggest}}'?
"""

unconfigured: Final = object()

_CAST: Final = re.compile(r"\((\w+)\)")


class BaseLoader:
    """Reads an application's configuration and imports its modules; a subclass may act on a worker's events.

    Args:
        app: the application.
        kwargs: not used.
    """

    builtin_modules: frozenset[str] = frozenset()
    configured = False
    override_backends: ClassVar[dict[str, str]] = {}
    worker_initialized = False
    _conf: Any = unconfigured

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        self.task_modules: set[str] = set()

    def now(self, utc: bool = True) -> datetime:
        """Return the time, in UTC or as a naive local time."""
        return datetime.now(UTC) if utc else datetime.now()  # noqa: DTZ005 - Celery's loaders return a naive time

    # -- events, for subclasses

    def on_task_init(self, task_id: str, task: Any) -> None:
        """Act before a task runs."""

    def on_process_cleanup(self) -> None:
        """Act after a task has run."""

    def on_worker_init(self) -> None:
        """Act when a worker starts."""

    def on_worker_shutdown(self) -> None:
        """Act when a worker shuts down."""

    def on_worker_process_init(self) -> None:
        """Act when a process of the pool starts."""

    # -- modules

    def import_task_module(self, module: str) -> Any:
        """Import a module with tasks."""
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> Any:
        """Import a module."""
        return importlib.import_module(module, package=package)

    def import_from_cwd(self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
        """Import a module, which may be in the working directory."""
        return import_from_cwd(module, imp or self.import_module, package=package)

    def import_default_modules(self) -> list[Any]:
        """Import the modules of a worker: those that receivers of ``import_modules`` import, and those of the settings.

        Raises:
            Exception: a receiver's error.
        """
        for _, answer in signals.import_modules.send(sender=self.app):
            if isinstance(answer, Exception):
                raise answer
        return [self.import_task_module(module) for module in self.default_modules]

    @cached_property
    def default_modules(self) -> tuple[str, ...]:
        """The modules of the settings ``imports`` and ``include``."""
        conf = self.app.conf
        return (*self.builtin_modules, *maybe_list(conf.imports), *maybe_list(conf.include))

    def autodiscover_tasks(self, packages: Iterable[str] | None, related_name: str | None = "tasks") -> None:
        """Import the modules of this name from packages."""
        found = autodiscover_tasks(packages or (), related_name)
        self.task_modules.update(module.__name__ for module in found if module)

    def find_module(self, module: str) -> Any:
        """Import a module that may be in the working directory, and say what is wrong with a path that names none."""
        return find_module(module)

    # -- a worker

    def init_worker(self) -> None:
        """Import the modules, once, when a worker starts."""
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()
            self.on_worker_init()

    def shutdown_worker(self) -> None:
        """Act when a worker shuts down."""
        self.on_worker_shutdown()

    def init_worker_process(self) -> None:
        """Act when a process of the pool starts."""
        self.on_worker_process_init()

    # -- the configuration

    @property
    def conf(self) -> Any:
        """The configuration that was read; None: there is none."""
        if self._conf is unconfigured:
            self._conf = self.read_configuration()
        return self._conf

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        """Read the configuration from the module that an environment variable names; None: it names none.

        Raises:
            NotAPackage: the module's name can't be one.
        """
        name = os.environ.get(env)
        return DictAttribute(self._import_config_module(name)) if name else None

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Read the configuration from an object, or from a module or its attribute by name.

        Args:
            obj: the object, or the name.
            silent: whether a name that can't be imported is no error.

        Returns:
            Whether the configuration was read.

        Raises:
            ImportError: there is no such module.
            AttributeError: the module has no such attribute.
        """
        if isinstance(obj, str):
            try:
                obj = self._smart_import(obj, imp=self.import_from_cwd)
            except (ImportError, AttributeError):
                if silent:
                    return False
                raise
        self._conf = force_mapping(obj)
        backends = self._conf.get("override_backends")
        if backends is not None:
            self.override_backends = backends  # type: ignore[misc]
        return True

    def _smart_import(self, path: str, imp: Callable[..., Any] | None = None) -> Any:
        """Import a module, or an attribute of one: ``shop.config``, ``shop.config.Config``, ``shop.config:Config``."""
        imp = imp or self.import_module
        if ":" not in path:
            try:
                return imp(path)
            except ImportError:  # an attribute's path, then
                pass
        return symbol_by_name(path, imp=imp)

    def _import_config_module(self, name: str) -> Any:
        try:
            self.find_module(name)
        except NotAPackage as error:
            if name.endswith(".py"):
                raise NotAPackage(CONFIG_WITH_SUFFIX.format(module=name, suggest=name[:-3])) from error
            raise NotAPackage(CONFIG_INVALID_NAME.format(module=name)) from error
        return self.import_from_cwd(name)

    def cmdline_config_parser(
        self,
        args: Iterable[str],
        namespace: str = "celery",
        re_type: re.Pattern[str] = _CAST,
        extra_types: dict[str, Callable[[str], Any]] | None = None,
        override_types: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Read settings of a command line: ``worker.prefetch_multiplier=1``, ``task_annotations=(json){...}``.

        Args:
            args: the texts.
            namespace: the namespace of a name that begins with a dot or an underscore.
            re_type: the pattern of the type before a value.
            extra_types: further types and their conversions; None: ``json``.
            override_types: type -> type to use instead; None: lists, dicts and tuples are JSON.

        Raises:
            ValueError: a value can't be converted.
            KeyError: there is no such setting or type.
        """
        from taskq_cloud.celery.app.defaults import NAMESPACES, Option  # only commands give settings in this way

        types = Option.typemap | (extra_types or {"json": json.loads})
        instead = override_types or dict.fromkeys(("tuple", "list", "dict"), "json")
        usual = namespace and namespace.lower()

        def setting(arg: str) -> tuple[str, Any]:
            name, value = arg.split("=", 1)
            name = name.lower().replace(".", "_")
            group, key = (usual, name[1:]) if name.startswith("_") else name.split("_", 1)
            full_name = f"{group}_{key}" if group else key
            cast = re_type.match(value)
            if cast:
                type_name = cast.group(1)
                return full_name, types[instead.get(type_name, type_name)](value[cast.end() :])
            try:
                return full_name, NAMESPACES[group][key].to_python(value)
            except ValueError as error:
                raise ValueError(f"{full_name!r}: {error}") from error

        return dict(map(setting, args))


def autodiscover_tasks(packages: Iterable[str], related_name: str | None = "tasks") -> Iterable[Any]:
    """Import the modules of this name from packages, and return a module or None for each.

    An import that discovers tasks in turn discovers nothing.
    """
    global _RACE_PROTECTION
    if _RACE_PROTECTION:
        return ()
    _RACE_PROTECTION = True
    try:
        return [find_related_module(package, related_name) for package in packages]
    finally:
        _RACE_PROTECTION = False


def find_related_module(package: str, related_name: str | None) -> Any:
    """Import a module of a package, such as its ``tasks``.

    Args:
        package: the package's name; the path of a class in the package, such as Django's ``AppConfig``, names the
            package, too.
        related_name: the module's name in the package; None: the package itself is returned.

    Returns:
        The module; None: the package has no such module.

    Raises:
        ModuleNotFoundError: there is no such package, or the module imports another one that is missing.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        package = package.rpartition(".")[0]
        if not package:
            raise
    else:
        if module and not related_name:
            return module
    name = f"{package}.{related_name}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise
