"""The command ``upgrade settings``: gives the settings in a file their present names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from taskq_cloud.celery.app import defaults
from taskq_cloud.celery.bin.base import CeleryCommand, CeleryOption, handle_preload_options

_option = partial(click.option, cls=CeleryOption, help_group="Upgrading Options")


@click.group()
@click.pass_context
@handle_preload_options
def upgrade(ctx: click.Context) -> None:
    """Change files of a project from those of older versions."""


def _with_namespace(key: str, namespace: str = "CELERY") -> str:
    key = key.upper()
    return key if key.startswith(namespace) else f"{namespace}_{key}"


def _upgraded(line: str, named: Callable[[str], str]) -> str:
    # The longest name first: CELERY_BROKER_TRANSPORT_OPTIONS contains another setting's name. One setting a line.
    for old in sorted(defaults._TO_NEW_KEY, key=len, reverse=True):
        changed = line.replace(old, named(defaults._TO_NEW_KEY[old]))
        if changed != line and "CELERY_CELERY" not in changed:
            return changed
    return line


@upgrade.command(cls=CeleryCommand)
@click.argument("filename")
@_option("--django", is_flag=True, help="The file is Django's: each name begins with CELERY_.")
@_option("--compat", is_flag=True, help="Each name begins with CELERY_.")
@_option("--no-backup", is_flag=True, help="Don't keep the file as it was.")
def settings(filename: str, django: bool, compat: bool, no_backup: bool) -> None:
    """Give the settings in FILENAME, which have names of Celery 3, those of Celery 4 and later."""
    file = Path(filename)
    named: Any = _with_namespace if django or compat else str
    click.echo(f"processing {filename}...", err=True)
    try:
        with file.open(encoding="utf-8", newline="") as source:
            lines = source.readlines()
    except OSError as error:
        raise click.ClickException(f"{filename} can't be read: {error.strerror}") from error
    changed = [_upgraded(line, named) for line in lines]
    if changed == lines:
        click.echo("Does not seem to require any changes :-)")
        return
    if not no_backup:
        backup = f"{filename}.orig"
        click.echo(f"writing backup to {backup}...", err=True)
        shutil.copyfile(file, backup)
    with file.open("w", encoding="utf-8", newline="") as target:
        target.writelines(changed)
    click.echo("Changes to your setting have been made!")
