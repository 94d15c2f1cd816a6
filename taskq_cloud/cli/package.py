"""``taskq package``: the archives of a Lambda function."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from taskq_cloud.bootstrap.loading import APP_VARIABLE
from taskq_cloud.cli.common import app_path, common_options, say
from taskq_cloud.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from taskq_cloud.deploy.packaging.build import Package, Plan

_HERE: Final = ".".join(platform.python_version_tuple()[:2])
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command("package", short_help="Package the application for AWS Lambda.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("dist/lambda"), show_default=True)
@click.option("--source", type=_FOLDER, default=Path(), help="Where its modules are imported from.  [default: here]")
@click.option("--include", multiple=True, metavar="NAME", help="A module or folder there that comes along. Repeatable.")
@click.option("-r", "--requirements", multiple=True, type=_FILE, metavar="FILE", help="As for pip. Repeatable.")
@click.option("--require", multiple=True, metavar="REQUIREMENT", help="One requirement: requests==2.32. Repeatable.")
@click.option("--extra", multiple=True, metavar="NAME", help="An extra of taskq-cloud: msgpack, auth. Repeatable.")
@click.option("--layer", is_flag=True, help="Put all but the application's own modules into a layer.")
@click.option("--sdk", is_flag=True, help="Bring botocore along, rather than use that of Lambda.")
@click.option("--python", default=_HERE, show_default=True, metavar="VERSION", help="Of the function's runtime.")
@click.option("--architecture", type=click.Choice(["x86_64", "arm64"]), default="x86_64", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@common_options
@click.pass_context
def command(context: click.Context, /, *, as_json: bool, **chosen: Any) -> None:
    """Make function.zip, and with --layer layer.zip, of the application and what it needs.

    The application's top package is packaged, not imported. Where a Python of the function's version is installed here,
    the modules are compiled and the package is started once, as a cold start does it. The function's handler is
    taskq_cloud.lambda_function.lambda_handler; TASKQ_APP in its environment names the application.
    """
    try:
        from taskq_cloud.deploy.packaging.build import build  # its requirement is an extra's
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(f"taskq package needs {error.name}: pip install 'taskq-cloud[package]'") from error
    app = app_path(context)
    if not app:
        raise click.UsageError(f"no application: name it with -A shop.tasks:app, or with {APP_VARIABLE}")
    package = build(_plan(app, **chosen))
    click.echo(_as_json(package) if as_json else _as_table(package))
    if package.modules is None:
        say(context, f"Not compiled and not tried out: no python{chosen['python']} is installed here.")


def _plan(app: str, *, python: str, architecture: str, requirements: Any, **chosen: Any) -> Plan:
    from taskq_cloud.deploy.packaging.build import Plan  # as above
    from taskq_cloud.deploy.packaging.contents import Wanted
    from taskq_cloud.deploy.packaging.target import Target

    of_it = {name: chosen.pop(name) for name in ("require", "extra", "sdk")}
    wanted = Wanted(requirements=of_it["require"], files=requirements, extras=of_it["extra"], sdk=of_it["sdk"])
    return Plan(app=app, wanted=wanted, target=Target(python, architecture), **chosen)


def _as_json(package: Package) -> str:
    archives = [
        {"path": str(each.path), "zipped_bytes": each.zipped_bytes, "unzipped_bytes": each.unzipped_bytes}
        for each in package.archives
    ]
    modules = None if package.modules is None else len(package.modules)
    return json.dumps({"archives": archives, "modules_imported": modules})


def _as_table(package: Package) -> str:
    width = max(len(str(each.path)) for each in package.archives)
    lines = [
        f"{each.path!s:<{width}}  {each.zipped_bytes:>11,} bytes, {each.unzipped_bytes:>11,} unzipped"
        for each in package.archives
    ]
    if package.modules is not None:
        lines.append(f"A cold start imports {len(package.modules)} modules.")
    return "\n".join(lines)
