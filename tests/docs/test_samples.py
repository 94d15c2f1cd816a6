"""The Python blocks of the pages under docs/ and of README.md run, and print what the pages say."""

from pathlib import Path

import pytest

from tests.docs.samples import DOCS, README, Block, assert_prints, blocks_of, open_page

FRAGMENTS = {"design.md"}  # its blocks show lines from the middle of functions
PAGES = [*sorted(page.name for page in DOCS.glob("*.md") if page.name not in FRAGMENTS), README]
ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library_loggers: None) -> None:
    """A page starts without files of SQLite, without a .env file, and without the variables of the test run."""
    monkeypatch.chdir(tmp_path)
    for name in ("TASKQ_BROKER", "TASKQ_BROKER_URL", "TASKQ_RESULTS", "TASKQ_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", [page for page in PAGES if any(block.mark == "" for block in blocks_of(page))])
def test_blocks_of_page_print_what_page_says(name: str) -> None:
    with open_page() as page:
        for block in blocks_of(name):
            if block.mark == "":
                assert_prints(block, page.run(block))


@pytest.mark.parametrize("block", [pytest.param(b, id=b.name) for b in ALL_BLOCKS if b.mark == "aws"])
def test_block_marked_aws_prints_what_page_says(block: Block, aws_environment: dict[str, str]) -> None:
    with open_page() as page:
        assert_prints(block, page.run(block))


@pytest.mark.parametrize("block", [pytest.param(b, id=b.name) for b in ALL_BLOCKS])
def test_block_has_known_mark_and_compiles(block: Block) -> None:
    assert block.mark in {"", "aws", "file", "notest"}
    compile(block.code, block.name, "exec", 0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
