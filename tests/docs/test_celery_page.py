"""docs/celery-settings.md is the code's table of settings, and docs/celery.md has a row for each tested difference."""

from __future__ import annotations

import pytest

from taskq_cloud.celery.app.mailbox import INSTEAD
from taskq_cloud.celery.native.settings import describe
from tests.celery.documentation import test_differences
from tests.docs import celery_differences, celery_settings
from tests.docs.samples import DOCS
from tests.docs.test_tables import _TICKED, rows


def test_page_shows_the_settings_of_the_code() -> None:
    page = (DOCS / "celery-settings.md").read_text(encoding="utf-8")
    assert page == celery_settings.page(), "run: python -m tests.docs.celery_settings > docs/celery-settings.md"


def test_every_setting_is_on_the_page_once() -> None:
    found = [name for row in rows("celery-settings.md") for name in _TICKED.findall(row[0])]
    names = [name for name, _, _ in describe()]
    assert sorted(name for name in found if name in set(names)) == names


@pytest.mark.parametrize("row", rows("celery.md", "## Differences"), ids=lambda row: row[0])
def test_difference_has_a_reason_and_no_empty_cell(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)


def test_differences_of_the_page_are_tested_and_tested_ones_are_on_the_page() -> None:
    page = [row[0].replace("`", "") for row in rows("celery.md", "## Differences")]
    assert page == [*test_differences.SHOWN]


def test_commands_of_the_page_are_those_that_have_a_replacement() -> None:
    table = {row[0].strip("`"): row[1] for row in rows("celery.md", "## Commands to workers")}
    assert table == INSTEAD


def test_page_shows_the_differences_that_tests_list() -> None:
    page = (DOCS / "celery.md").read_text(encoding="utf-8")
    assert page.endswith(celery_differences.section()), "run: python -m tests.docs.celery_differences"
