"""``taskq migrate``: reads a Celery project, says what changes, and changes its imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taskq_cloud.cli.options import app_path, common_options
from taskq_cloud.cli.output import echo, json_text, one_line


@click.command("migrate", short_help="Move a Celery project to taskq_cloud.celery.")
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=".")
@click.option("--write", is_flag=True, help="Change the imports from celery to taskq_cloud.celery in the files.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option(
    "--no-import",
    is_flag=True,
    help="Only read the files. Otherwise the application is imported, in a process of its own.",
)
@common_options
@click.pass_context
def command(context: click.Context, /, path: Path, write: bool, as_json: bool, no_import: bool) -> None:
    """Say which parts of the Celery project in PATH run unchanged, which change their meaning, and which need a hand.

    Each finding has a file, a line and a code, and says what to do. With --write, the imports of the project's files
    are changed first; then only the findings remain.

    \b
    Exit codes:
      0  nothing needs a hand
      1  something needs a hand, or the command failed (see standard error)
      2  wrong usage
    """
    from taskq_cloud.cli.migrate.codes import Severity
    from taskq_cloud.cli.migrate.project import Project

    project = Project(path)
    report = project.read(app_path(context), import_app=not no_import)
    written = project.write() if write else []
    hands = report.count(Severity.HAND)
    if as_json:
        echo(json_text(_document(report, written)))
    else:
        _print(report, written, write=write)
    context.exit(1 if hands else 0)


def _document(report: Any, written: list[Path]) -> dict[str, Any]:
    return {
        "unchanged": dict(sorted(report.unchanged.items())),
        "to_write": {file.as_posix(): count for file, count in sorted(report.to_write.items())},
        "written": [file.as_posix() for file in written],
        "findings": [finding.to_document() for finding in report.findings],
    }


def _print(report: Any, written: list[Path], *, write: bool) -> None:
    from taskq_cloud.cli.migrate.codes import CODES, Severity

    for severity, heading in (
        (Severity.MEANING, "Changes its meaning:"),
        (Severity.HAND, "Needs a hand:"),
    ):
        findings = [finding for finding in report.findings if finding.severity is severity]
        if findings:
            echo(heading)
        for finding in findings:
            place = f"{finding.file.as_posix()}:{finding.line}" if finding.line else finding.file.as_posix()
            echo(f"  {place}: {finding.code} {one_line(finding.subject)}")
            echo(f"    {one_line(finding.sentence)}")
            echo(f"    -> {CODES[finding.code].remedy}")
    counts = ", ".join(f"{what} {count}" for what, count in sorted(report.unchanged.items())) or "nothing"
    echo(f"Runs unchanged: {counts}")
    places = sum(report.to_write.values())
    if write:
        echo(f"Changed: imports and names {places}, files {len(written)}")
    elif places:
        echo(f"To change with --write: imports and names {places}, files {len(report.to_write)}")
    echo(f"Findings: {report.count(Severity.MEANING)} about the meaning, {report.count(Severity.HAND)} for a hand")
