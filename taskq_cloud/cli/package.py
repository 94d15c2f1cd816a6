"""``taskq package``: build the archives of a Lambda function."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from taskq_cloud.bootstrap.loading import APP_VARIABLE
from taskq_cloud.cli.options import app_path, common_options
from taskq_cloud.cli.output import echo, json_text, say
from taskq_cloud.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from taskq_cloud.deploy.packaging.build import Package, Plan

_THIS_PYTHON: Final = ".".join(platform.python_version_tuple()[:2])
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command("package", short_help="Build the archives of an AWS Lambda function.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("dist/lambda"),
    show_default=True,
    help="The folder that the archives are written to.",
)
@click.option(
    "--source",
    type=_FOLDER,
    default=Path(),
    help="The folder that the application is imported from.  [default: the working folder]",
)
@click.option(
    "--include",
    multiple=True,
    metavar="NAME",
    help="Another module, package, file or folder of the source folder to package; can be repeated.",
)
@click.option(
    "-r",
    "--requirements",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="A requirements file, as for pip; can be repeated.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="REQUIREMENT",
    help="A single requirement, such as requests==2.32; can be repeated.",
)
@click.option(
    "--extra", multiple=True, metavar="NAME", help="An extra of taskq-cloud, such as msgpack or auth; can be repeated."
)
@click.option(
    "--layer",
    is_flag=True,
    help="Put taskq-cloud and the requirements into layer.zip, for a Lambda layer, instead of into function.zip.",
)
@click.option(
    "--producer",
    is_flag=True,
    help="Package an application that only calls tasks: without pydantic, time zones and the runtime of functions.",
)
@click.option("--sdk", is_flag=True, help="Package botocore, instead of using the one in Lambda's runtime.")
@click.option(
    "--python",
    default=_THIS_PYTHON,
    show_default=True,
    metavar="VERSION",
    help="The Python version of the function's runtime.",
)
@click.option(
    "--architecture",
    type=click.Choice(["x86_64", "arm64"]),
    default="x86_64",
    show_default=True,
    help="The processor architecture of the function.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@common_options
@click.pass_context
def command(context: click.Context, /, *, as_json: bool, **chosen: Any) -> None:
    """Build function.zip, with the application and its requirements, and layer.zip with --layer.

    The application's top-level package is copied without being imported. If a Python of the function's version is
    installed here, the modules are compiled, and the package is imported once in a fresh process, as Lambda's cold
    start does, to see that nothing is missing.

    Set the function's handler to taskq_cloud.lambda_function.lambda_handler, and TASKQ_APP in its environment to the
    application.
    """
    try:
        from taskq_cloud.deploy.packaging.build import build  # the package that it needs comes with an extra
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(f"taskq package needs {error.name}: pip install 'taskq-cloud[package]'") from error
    app = app_path(context)
    if not app:
        raise click.UsageError(
            f"no application is named: add -A shop.tasks:app, or set {APP_VARIABLE} in the environment"
        )
    package = build(_plan(app, **chosen))
    echo(_as_json(package) if as_json else _as_text(package))
    if package.modules is None:
        say(context, f"The package was neither compiled nor tried out: python{chosen['python']} is not installed here.")


def _plan(app: str, *, python: str, architecture: str, requirements: tuple[Path, ...], **chosen: Any) -> Plan:
    from taskq_cloud.deploy.packaging.build import Plan
    from taskq_cloud.deploy.packaging.contents import Requirements
    from taskq_cloud.deploy.packaging.target import Target

    required = Requirements(
        lines=chosen.pop("require"),
        files=requirements,
        extras=chosen.pop("extra"),
        sdk=chosen.pop("sdk"),
        producer=chosen.pop("producer"),
    )
    return Plan(app=app, requirements=required, target=Target(python, architecture), **chosen)


def _as_json(package: Package) -> str:
    archives = [
        {"path": str(archive.path), "zipped_bytes": archive.zipped_bytes, "unzipped_bytes": archive.unzipped_bytes}
        for archive in package.archives
    ]
    modules = None if package.modules is None else len(package.modules)
    return json_text({"archives": archives, "modules_imported": modules})


def _as_text(package: Package) -> str:
    width = max(len(str(archive.path)) for archive in package.archives)
    lines = [
        f"{archive.path!s:<{width}}  {archive.zipped_bytes:>11,} bytes, {archive.unzipped_bytes:>11,} unzipped"
        for archive in package.archives
    ]
    if package.modules is not None:
        lines.append(f"A cold start imports {len(package.modules)} modules.")
    return "\n".join(lines)
