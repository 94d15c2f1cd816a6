"""Reads a whole project."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskq_cloud.cli.migrate.codes import Finding, Severity
from taskq_cloud.cli.migrate.configuration import import_application
from taskq_cloud.cli.migrate.files import other_findings, python_files
from taskq_cloud.cli.migrate.rewrite import Source, edits_of, rewritten
from taskq_cloud.cli.migrate.scan import FileScan, Scan
from taskq_cloud.cli.migrate.settings_found import ConfigSources, finding_of, places_in, settings_in


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a project.

    Args:
        findings: what doesn't run unchanged, by file and line.
        unchanged: what does -> how often.
        to_write: file -> how many places ``--write`` changes in it.
    """

    findings: list[Finding]
    unchanged: Counter[str]
    to_write: dict[Path, int]

    def count(self, severity: Severity) -> int:
        """Return how many findings ask for this much."""
        return sum(finding.severity is severity for finding in self.findings)


class Project:
    """A project of Celery's.

    Args:
        path: its folder, or one file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path if path.is_dir() else path.parent
        # A package is imported from the folder that it is in.
        self._imported_from = self.folder.resolve()
        while (self._imported_from / "__init__.py").exists():
            self._imported_from = self._imported_from.parent

    def read(self, app: str | None = None, *, import_app: bool = True) -> Report:
        """Read the project's files, and import its application.

        Args:
            app: the path of the application; None: the first one in the files.
            import_app: False: nothing is imported.
        """
        scan, sources = Scan(), dict(self._sources())
        trees: dict[str, ast.Module] = {}
        for file, source in sources.items():
            if isinstance(source, Source):
                trees[self.module_of(file)] = source.tree
                FileScan(self._shown(file), self.module_of(file), scan).visit(source.tree)
            else:
                scan.findings.append(Finding(self._shown(file), source.lineno or 0, "M215", source.msg or "not Python"))
        acks_late = self._read_settings(sources, ConfigSources(trees), scan)
        scan.conclude(acks_late_is_set=acks_late)
        scan.findings += other_findings(self.path)
        if import_app:
            scan.findings += self._import(app, scan)
        edits = {file: len(edits_of(source)) for file, source in sources.items() if isinstance(source, Source)}
        to_write = {self._shown(file): count for file, count in edits.items() if count}
        return Report(sorted(set(scan.findings)), scan.unchanged, to_write)

    def write(self) -> list[Path]:
        """Change the imports of all files, and return the files that were changed."""
        changed = []
        for file, source in self._sources():
            if isinstance(source, Source):
                content = rewritten(source)
                if content != source.content:
                    file.write_bytes(content)
                    changed.append(self._shown(file))
        return changed

    def module_of(self, file: Path) -> str:
        """Return the name under which a file is imported."""
        root = file.resolve().parent
        while (root / "__init__.py").exists():
            root = root.parent
        if not (file.parent / "__init__.py").exists() and root.is_relative_to(self._imported_from):
            root = self._imported_from  # a folder without __init__.py may be a package as well
        parts = file.resolve().relative_to(root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    def _shown(self, file: Path) -> Path:
        return file.relative_to(self.folder)

    def _sources(self) -> Iterator[tuple[Path, Source | SyntaxError]]:
        for file in python_files(self.path):
            try:
                yield file, Source(file.read_bytes())
            except SyntaxError as error:
                yield file, error
            except ValueError as error:  # not UTF-8, or a null byte
                yield file, SyntaxError(f"{type(error).__name__}: {error}")

    def _read_settings(self, sources: dict[Path, Source | SyntaxError], config: ConfigSources, scan: Scan) -> bool:
        """Add what is to say about settings; return whether acknowledgement is a setting."""
        settings = [
            found
            for file, source in sources.items()
            if isinstance(source, Source)
            for found in settings_in(self._shown(file), self.module_of(file), source.tree, config)
        ]
        places = places_in(settings)
        for found in settings:
            finding = finding_of(found, places)
            if finding is None:
                scan.unchanged["settings"] += 1
            else:
                scan.findings.append(finding)
        return any(found.name == "task_acks_late" for found in settings)

    def _import(self, app: str | None, scan: Scan) -> Iterator[Finding]:
        file = next(iter(scan.applications), None)
        if app is None and file is not None:
            app = (
                f"{self.module_of(self.folder / file)}:{scan.applications[file][0]}"
                if scan.applications[file]
                else None
            )
        if app is None:
            return
        found = import_application(app, self._imported_from)
        if found["error"] is not None:
            yield Finding(file or Path(), 0, "M216", app, f"{app} can't be used: {' '.join(found['error'].split())}.")
        elif found["tasks"]:
            scan.unchanged["tasks"] = max(scan.unchanged["tasks"], found["tasks"])
