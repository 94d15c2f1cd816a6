"""Tests of reading requirement files: continued lines, hashes, other files, and this library's own lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq_cloud.deploy.packaging.requirement_files import read_requirements
from taskq_cloud.errors import ImproperlyConfigured

HASH = f"--hash=sha256:{'0' * 64}"


def test_lines_of_the_library_are_left_out_but_for_their_extras(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(
        f"# comment \\\n--index-url https://example.com/simple\nTaskQ_Cloud[msgpack]==1.0 \\\n  {HASH} \\\n  {HASH}\n"
        f"six==1.16 ; python_version > '3' \\\n  {HASH}  # via x\nidna==3.10 {HASH}\n"
    )
    given = read_requirements([file])
    assert given.extras == {"msgpack"} and given.names == {"six", "idna"} and given.hashed
    assert given.sources == ["--index-url https://example.com/simple"]
    assert [line.split()[0] for line in given.lines] == ["#", "--index-url", "six==1.16", "idna==3.10"]
    assert all(HASH in line for line in given.lines[2:])


def test_other_files_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more/base.txt\nsix\n-r https://example.com/x.txt\n")
    (tmp_path / "more" / "base.txt").write_text("taskq-cloud[yaml]\nidna # why\n--constraint=limits.txt\n")
    given = read_requirements([tmp_path / "requirements.txt"])
    constraint = f"-c {tmp_path.resolve() / 'more' / 'limits.txt'}"
    assert given.lines == ["idna # why", constraint, "six", "-r https://example.com/x.txt"]
    assert given.extras == {"yaml"} and not given.hashed


def test_file_that_names_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt")
    (tmp_path / "b.txt").write_text("-ra.txt")
    with pytest.raises(ImproperlyConfigured, match="names itself"):
        read_requirements([tmp_path / "a.txt"])


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ImproperlyConfigured, match="isn't text"):
        read_requirements([tmp_path / "a.txt"])
