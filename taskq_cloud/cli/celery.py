"""``taskq celery``: Celery's command line, for applications of ``taskq_cloud.celery``."""

from __future__ import annotations

import click

from taskq_cloud.cli.options import app_path, given


@click.command(
    "celery",
    short_help="Run a command line of Celery.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]...")
@click.pass_context
def command(context: click.Context, /, arguments: tuple[str, ...]) -> None:
    """Run a command line of Celery as it stands, such as `taskq celery -A shop worker -Q mail -c 4 -l INFO`.

    The application is one of taskq_cloud.celery. The commands are worker, beat, call, result, purge, control, inspect,
    status, report, list, shell and upgrade; `taskq celery --help` lists them, with Celery's options.
    """
    from taskq_cloud.celery.bin.celery import main  # the other commands don't need Celery's

    shared = {"-A": app_path(context), "-b": given(context, "broker"), "--result-backend": given(context, "results")}
    before = [part for option, value in shared.items() if value for part in (option, value)]
    if workdir := given(context, "workdir"):
        before = ["--workdir", workdir, *before]
    main([*before, *arguments])
