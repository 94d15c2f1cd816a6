"""Finds the settings that a project gives Celery, and says what becomes of each.

``taskq_cloud.celery.native.settings`` knows what becomes of a setting.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from taskq_cloud.cli.migrate.codes import Finding
from taskq_cloud.cli.migrate.services import note_of, options_without_effect
from taskq_cloud.errors import ImproperlyConfigured

_UNKNOWN: Final = object()
_URLS: Final = {"broker_url": "broker", "result_backend": "results"}
_OPTIONS: Final = frozenset({"broker_transport_options", "result_backend_transport_options"})
_PLACES: Final = frozenset(
    {
        "azureblockblob_container_name",
        "cassandra_keyspace",
        "cassandra_servers",
        "database_url",
        "gcs_bucket",
        "s3_bucket",
    }
)
"""Settings without which a result backend has no place."""
_CONSTRUCTOR: Final = {"broker": "broker_url", "backend": "result_backend"}


class Found(NamedTuple):
    """A setting in a file.

    Args:
        file: the file, relative to the project.
        line: the line.
        written: the name as it is written.
        name: the name in Celery's documentation.
        node: the value.
    """

    file: Path
    line: int
    written: str
    name: str
    node: ast.expr


class ConfigSources:
    """Where a project's configuration is: the modules and the classes that ``config_from_object`` names.

    Args:
        trees: module -> its syntax tree.
    """

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.modules: set[str] = set()
        self.classes: set[str] = set()
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and _last_name(node.func) == "config_from_object" and node.args:
                    self._add(node.args[0])
        self.modules |= {"celeryconfig"}

    def _add(self, source: ast.expr) -> None:
        if isinstance(source, ast.Constant) and isinstance(source.value, str):
            module, _, name = source.value.partition(":")
            self.modules.add(module)
            if name:
                self.classes.add(name)
            self.classes.add(module.rpartition(".")[2])
        elif isinstance(source, ast.Name):
            self.classes.add(source.id)
            self.modules.add(source.id)
        elif isinstance(source, ast.Attribute):
            self.classes.add(source.attr)
            self.modules.add(source.attr)

    def is_config(self, module: str) -> bool:
        """Return whether a module's names are settings in their present form."""
        return module in self.modules or module.rpartition(".")[2] in self.modules


def settings_in(file: Path, module: str, tree: ast.Module, sources: ConfigSources) -> Iterator[Found]:
    """Return the settings in a file."""
    yield from _assigned(file, tree.body, lower=sources.is_config(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in sources.classes:
            yield from _assigned(file, node.body, lower=True)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _one(file, node.lineno, _conf_key(target), node.value)
        elif isinstance(node, ast.Call):
            yield from _of_call(file, node)


def _assigned(file: Path, body: list[ast.stmt], *, lower: bool) -> Iterator[Found]:
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _assigned(file, [*statement.body, *statement.orelse], lower=lower)
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        for target in targets:
            if isinstance(target, ast.Name) and (lower or target.id.isupper()):
                value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
                if value is not None:
                    yield from _one(file, statement.lineno, target.id, value)


def _of_call(file: Path, node: ast.Call) -> Iterator[Found]:
    name = _last_name(node.func)
    if name == "Celery":
        for keyword in node.keywords:
            yield from _one(file, node.lineno, _CONSTRUCTOR.get(str(keyword.arg), keyword.arg), keyword.value)
    elif name == "update" and isinstance(node.func, ast.Attribute) and _last_name(node.func.value) == "conf":
        for keyword in node.keywords:
            yield from _one(file, keyword.value.lineno, keyword.arg, keyword.value)
        for given in node.args:
            if isinstance(given, ast.Dict):
                for key, value in zip(given.keys, given.values, strict=True):
                    if isinstance(key, ast.Constant):
                        yield from _one(file, value.lineno, key.value, value)


def _conf_key(target: ast.expr) -> Any:
    """Return the name of the setting in ``app.conf.name = ...`` and ``app.conf["name"] = ...``."""
    if isinstance(target, ast.Attribute) and _last_name(target.value) == "conf":
        return target.attr
    if isinstance(target, ast.Subscript) and _last_name(target.value) == "conf":
        return target.slice.value if isinstance(target.slice, ast.Constant) else None
    return None


def _one(file: Path, line: int, written: Any, value: ast.expr) -> Iterator[Found]:
    name = _present_name(written) if isinstance(written, str) else None
    if name is not None:
        yield Found(file, line, written, name, value)


def _present_name(written: str) -> str | None:
    """Return the present name of a setting, for that name, an old one, or one of Django's settings."""
    from taskq_cloud.celery.app.defaults import _TO_NEW_KEY, SETTING_KEYS

    if written in SETTING_KEYS:
        return written
    if written in _TO_NEW_KEY:
        return str(_TO_NEW_KEY[written])
    stripped = written.removeprefix("CELERY_").lower()
    return stripped if written.isupper() and written != stripped and stripped in SETTING_KEYS else None


def places_in(settings: Iterable[Found]) -> dict[str, Any]:
    """Return the values of a project's settings that name the place of results, such as ``s3_bucket``.

    A name that is only known when the project runs, such as ``os.environ["BUCKET"]``, gets a value in its place.
    """
    from taskq_cloud.celery.native._infrastructure_settings import STORES

    values = {found.name: _value(found.node) for found in settings if found.name in STORES}
    return {
        name: "unknown" if value is _UNKNOWN else value
        for name, value in values.items()
        if value is not _UNKNOWN or name in _PLACES
    }


def finding_of(found: Found, places: Mapping[str, Any]) -> Finding | None:
    """Return the finding for a setting; None: it keeps its meaning.

    Args:
        found: the setting.
        places: the values of ``places_in``, which a URL may leave to other settings.
    """
    from taskq_cloud.celery.native._settings_table import SETTINGS
    from taskq_cloud.celery.native.settings import describe

    kinds = {name: (str(kind), sentence) for name, kind, sentence in describe()}
    kind, sentence = kinds.get(found.name, ("native", ""))
    value = _value(found.node)
    place = (found.file, found.line)
    if found.name in _URLS:
        return _url_finding(found, value, places)
    if found.name in _OPTIONS and isinstance(value, dict):
        return _options_finding(found, value)
    if kind == "refused":
        refuses = SETTINGS[found.name].refused
        if refuses is None or value is _UNKNOWN or refuses(value):
            return Finding(*place, "M213", found.written, sentence)
    if kind == "no effect":
        return Finding(*place, "M102", found.written, sentence)
    return None


def _url_finding(found: Found, value: Any, places: Mapping[str, Any]) -> Finding | None:
    from taskq_cloud.celery.app.base import Celery
    from taskq_cloud.celery.native._service_urls import broker_of, results_of

    urls = [value] if isinstance(value, str) else list(_urls_in(found.node))
    for url in urls:
        app = Celery(set_as_current=False, changes={**places, found.name: url}, fixups=[])
        try:
            native = (broker_of if found.name == "broker_url" else results_of)(app.conf)
        except ImproperlyConfigured as error:
            return Finding(found.file, found.line, "M205", found.written, f"{error}")
        finally:
            app.close()
        if note := note_of(found.name, native or ""):
            return Finding(found.file, found.line, "M111", found.written, note)
    return None


def _options_finding(found: Found, value: dict[Any, Any]) -> Finding | None:
    names = options_without_effect(value)
    if not names:
        return None
    verb = "has" if len(names) == 1 else "have"
    detail = f"{', '.join(names)} {verb} no effect: connections, retries and timeouts are the client's own."
    return Finding(found.file, found.line, "M102", found.written, detail)


def _urls_in(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and "://" in each.value:
            yield each.value if "{" not in each.value else each.value.partition("://")[0] + "://"


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return _UNKNOWN


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
