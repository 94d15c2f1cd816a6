"""``python -m taskq_cloud`` is ``taskq``."""

from taskq_cloud.cli import main

main(prog_name="taskq")
