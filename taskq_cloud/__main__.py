"""Run the ``taskq`` command with ``python -m taskq_cloud``."""

from taskq_cloud.cli import main

main(prog_name="taskq")
