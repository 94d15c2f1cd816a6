"""Reads one file of a project: what runs unchanged, and what doesn't."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskq_cloud.celery.native.definition import NATIVE_ONLY
from taskq_cloud.cli.migrate.codes import Finding
from taskq_cloud.cli.migrate.names import KOMBU_ERRORS, has_module, has_name, in_celery
from taskq_cloud.cli.migrate.third_parties import replacement_of

_KOMBU: Final = frozenset({"Queue", "Exchange", "binding"})
_KOMBU_ERRORS: Final = (
    "Brokers raise the errors of taskq_cloud, which are not kombu's: catch OperationalError, EncodeError and "
    "DecodeError of taskq_cloud.celery.exceptions."
)
_WITH_CELERY: Final = frozenset({"billiard", "vine", "amqp"})
_CALLS: Final = frozenset({"delay", "apply_async", "send_task", "apply"})
_WORKFLOWS: Final = frozenset({"chain", "group", "chord", "chunks", "xmap", "xstarmap"})
_CONTROL_WORKS: Final = frozenset({"revoke", "purge", "discard_all"})
_EVENT_NAMES: Final = frozenset({"Receiver", "EventReceiver", "EventDispatcher", "Camera", "Snapshot"})
_LOADED_BY_NAME: Final = ("django_celery_", "redbeat")
_COLLECTIONS: Final = (ast.Dict, ast.List, ast.Set, ast.Tuple)
"""Values that no native option has."""
_STEPS: Final = frozenset({"Step", "StartStopStep"})
_SCHEDULERS: Final = frozenset({"Scheduler", "PersistentScheduler", "ScheduleEntry"})
_BACKENDS: Final = frozenset({"BaseBackend", "Backend", "BaseKeyValueStoreBackend", "KeyValueStoreBackend"})


@dataclass(slots=True)
class Scan:
    """What a project's files contain.

    Attributes:
        findings: what doesn't run unchanged.
        unchanged: what does -> how often.
        declared: the names of declared tasks.
        named_calls: file, line and name of each task that is called by its name.
        applications: file -> the names of its applications.
        without_acks_late: file and line of each task that doesn't set acks_late.
    """

    findings: list[Finding] = field(default_factory=list)
    unchanged: Counter[str] = field(default_factory=Counter)
    declared: set[str] = field(default_factory=set)
    named_calls: list[tuple[Path, int, str]] = field(default_factory=list)
    applications: dict[Path, list[str]] = field(default_factory=dict)
    without_acks_late: list[tuple[Path, int, str]] = field(default_factory=list)

    def conclude(self, *, acks_late_is_set: bool) -> None:
        """Add the findings that depend on all files."""
        for file, line, name in self.named_calls:
            if name not in self.declared and not name.startswith("celery."):
                self.findings.append(Finding(file, line, "M105", name))
        if self.without_acks_late and not acks_late_is_set:
            file, line, name = min(self.without_acks_late)
            count = len(self.without_acks_late)
            others = f" and {count - 1} more" if count > 1 else ""
            self.findings.append(Finding(file, line, "M101", f"task {name}{others}"))


class FileScan(ast.NodeVisitor):
    """Reads the syntax tree of one file.

    Args:
        file: the file, relative to the project.
        module: the name under which it is imported.
        scan: gets what is found.
    """

    def __init__(self, file: Path, module: str, scan: Scan) -> None:
        self._file, self._module, self._scan = file, module, scan
        self._paths: dict[str, str] = {}
        """Name in this file -> the path in Celery that it was imported from."""

    def _find(self, node: ast.AST, code: str, subject: str, detail: str = "") -> None:
        self._scan.findings.append(Finding(self._file, getattr(node, "lineno", 0), code, subject, detail))

    # -- imports

    def visit_Import(self, node: ast.Import) -> None:
        """Look at ``import a, b``."""
        for alias in node.names:
            self._other_package(node, alias.name, alias.name)
            path = in_celery(alias.name)
            if path is None:
                continue
            if alias.asname or path == alias.name:  # and `import taskq_cloud.celery.app` binds taskq_cloud
                self._paths[alias.asname or "celery"] = path if alias.asname else "celery"
            if has_module(path):
                self._scan.unchanged["imports"] += 1
            else:
                self._missing(node, path)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Look at ``from a import b``."""
        module = node.module or ""
        if node.level:
            return
        for alias in node.names:
            self._other_package(node, module, f"{module}.{alias.name}")
            path = in_celery(f"{module}.{alias.name}")
            if path is None:
                continue
            self._paths[alias.asname or alias.name] = path
            if path == "celery" or has_name(path.rpartition(".")[0], alias.name):
                self._scan.unchanged["imports"] += 1
                self._special(node, path)
            else:
                self._missing(node, path)

    def _missing(self, node: ast.AST, path: str) -> None:
        if path.startswith("celery.events"):
            self._find(node, "M106", path)
        self._find(node, "M201", path)

    def _special(self, node: ast.AST, path: str) -> None:
        module, _, name = path.rpartition(".")
        if name in ("control_command", "inspect_command", "Panel") and module == "celery.worker.control":
            self._find(node, "M210", path, "Remote control commands of your own are never called.")

    def _other_package(self, node: ast.AST, module: str, subject: str) -> None:
        known = replacement_of(module) or replacement_of(subject)
        root = module.partition(".")[0]
        if known is not None:
            name, instead = known
            self._find(node, "M202", subject, f"{name} imports Celery itself. Instead: {instead}.")
        elif root == "kombu":
            name = subject.rpartition(".")[2]
            if name == "Broadcast":
                self._find(node, "M217", subject)
            elif module == "kombu.exceptions" and name in KOMBU_ERRORS:
                self._find(node, "M109", subject)
            elif subject == "kombu.exceptions":
                self._find(node, "M203", subject, _KOMBU_ERRORS)
            elif module not in ("kombu", "kombu.entity") or name not in {*_KOMBU, "kombu"}:
                self._find(node, "M203", subject)
            else:
                self._scan.unchanged["queues of kombu"] += 1
        elif root in _WITH_CELERY:
            self._find(node, "M204", subject)
        elif subject.startswith("gevent.monkey"):
            self._find(node, "M211", subject)

    # -- declarations

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Look at a function, which may be a task."""
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            function = call.func if call else decorator
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if self._path(function) == "celery.shared_task" or (name in ("task", "shared_task", "periodic_task")):
                self._task(node, call)
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name is ast's

    def _task(self, node: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call | None) -> None:
        options = {each.arg: each.value for each in call.keywords} if call else {}
        given = options.get("name")
        is_text = isinstance(given, ast.Constant) and isinstance(given.value, str)
        name = str(given.value) if isinstance(given, ast.Constant) and is_text else f"{self._module}.{node.name}"
        self._scan.declared.add(name)
        self._scan.unchanged["tasks"] += 1
        for option, value in options.items():
            if option in NATIVE_ONLY and not isinstance(value, _COLLECTIONS):
                self._find(value, "M110", f"{name}: {option}")
        if "acks_late" not in options:
            self._scan.without_acks_late.append((self._file, node.lineno, name))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Look at a class, which may derive from one of Celery's."""
        for base in node.bases:
            path = self._path(base) or ""
            name = path.rpartition(".")[2]
            if name == "ConsumerStep":
                self._find(node, "M208", node.name)
            elif path.startswith("celery.bootsteps.") and name in _STEPS:
                self._find(node, "M103", node.name)
            elif path.startswith("celery.worker.request") and name == "Request":
                self._find(node, "M209", node.name)
            elif path.startswith("celery.beat.") and name in _SCHEDULERS:
                self._find(node, "M104", node.name)
            elif path.startswith("celery.backends.") and name in _BACKENDS:
                self._find(node, "M214", node.name)
            elif path.startswith(("celery.Task", "celery.app.task.Task")) or getattr(base, "attr", "") == "Task":
                self._scan.unchanged["classes of tasks"] += 1
                self._task_class(node)
        self.generic_visit(node)

    def _task_class(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Name) and target.id in ("Request", "Strategy"):
                    self._find(statement, "M209", f"{node.name}.{target.id}")
                elif isinstance(target, ast.Name) and target.id == "name" and isinstance(statement, ast.Assign):
                    self._scan.declared.update(_texts(statement.value))

    def visit_Assign(self, node: ast.Assign) -> None:
        """Look at an assignment, which may be that of an application."""
        value = node.value
        if isinstance(value, ast.Call) and (self._path(value.func) or "").endswith(("celery.Celery", "base.Celery")):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            self._scan.applications.setdefault(self._file, []).extend(names)
            self._scan.unchanged["applications"] += 1
        self.generic_visit(node)

    # -- uses

    def visit_Call(self, node: ast.Call) -> None:
        """Look at a call."""
        path, name = self._path(node.func) or "", getattr(node.func, "attr", getattr(node.func, "id", ""))
        if path.partition(".")[0] == "celery" and name in _WORKFLOWS:
            self._scan.unchanged["workflows"] += 1
        elif name in _CALLS and isinstance(node.func, ast.Attribute):
            self._scan.unchanged["calls"] += 1
            texts = list(_texts(node.args[0])) if name == "send_task" and node.args else []
            self._scan.named_calls += [(self._file, node.lineno, text) for text in texts]
        elif name == "add_periodic_task":
            self._scan.unchanged["periodic tasks"] += 1
        elif name == "revoke":
            self._revoke(node)
        elif name == "monkey_patch":  # eventlet's
            self._find(node, "M211", ast.unparse(node.func))
        elif name == "register" and path.endswith("Panel.register"):
            self._find(node, "M210", path)
        elif name in _EVENT_NAMES and (path.startswith("celery.events") or ".events." in f".{ast.unparse(node.func)}"):
            self._find(node, "M106", ast.unparse(node.func))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Look at a text, which may name a package that Django or Celery loads."""
        if isinstance(node.value, str) and node.value.startswith(_LOADED_BY_NAME):
            known = replacement_of(node.value.replace(":", "."))
            if known is not None:
                self._find(node, "M202", node.value, f"{known[0]} imports Celery itself. Instead: {known[1]}.")

    def _revoke(self, node: ast.Call) -> None:
        ends = [each for each in node.keywords if each.arg == "terminate"]
        if any(not isinstance(each.value, ast.Constant) or each.value.value for each in ends):
            self._find(node, "M212", ast.unparse(node.func))
        else:
            self._find(node, "M107", ast.unparse(node.func))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Look at ``a.b``: remote control, or a name of Celery's that isn't here."""
        value = node.value
        is_control = isinstance(value, ast.Attribute) and value.attr == "control"
        if is_control and node.attr not in _CONTROL_WORKS and not node.attr.startswith("_"):
            self._find(node, "M210", ast.unparse(node))
        if node.attr in KOMBU_ERRORS and ast.unparse(value) == "kombu.exceptions":
            self._find(node, "M203", ast.unparse(node), _KOMBU_ERRORS)
        path = self._path(node) or ""
        if path.startswith("celery.") and self._root(node) == "celery":
            module, _, name = path.rpartition(".")
            if has_module(module) and not has_name(module, name):
                self._find(node, "M201", path)
        self.generic_visit(node)

    def _root(self, node: ast.expr) -> str:
        """Return the path that the first name of ``a.b.c`` was imported from."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return self._paths.get(node.id, "") if isinstance(node, ast.Name) else ""

    def _path(self, node: ast.expr) -> str | None:
        """Return the path in Celery of an expression such as ``celery.signals.task_prerun``; None: it isn't one."""
        if isinstance(node, ast.Name):
            return self._paths.get(node.id)
        if isinstance(node, ast.Attribute):
            before = self._path(node.value)
            return before and f"{before}.{node.attr}"
        return None


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
