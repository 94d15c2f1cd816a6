"""A pytest plugin for tests with random examples, which hypothesis draws: the settings, and how to repeat a failure.

With ``CI=true``, each test draws the same examples in every run, so a change is never blamed for an example that
another run drew. Without it, each run draws new examples, and a failure prints the line that repeats it.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

PROFILE: Final = "taskq"


def derandomised() -> bool:
    """Whether every run draws the same examples."""
    return os.environ.get("CI") == "true"


def pytest_configure() -> None:
    # The time that an example takes says how busy the machine is.
    settings.register_profile(
        PROFILE,
        deadline=None,
        derandomize=derandomised(),
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile(PROFILE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = [report for report in terminalreporter.stats.get("failed", []) if "hypothesis" in report.keywords]
    if not failed:
        return
    terminalreporter.section("failures with random examples")
    if derandomised():
        terminalreporter.line("These tests draw the same examples in every run with CI=true. Repeat them with")
        for report in failed:
            terminalreporter.line(f"    CI=true pytest '{report.nodeid}'")
    else:
        terminalreporter.line(
            "Each failure above ends with a line @reproduce_failure(...); "
            "put it above the test to draw that example again."
        )
