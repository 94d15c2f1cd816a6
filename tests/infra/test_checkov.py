"""checkov reports nothing about the Terraform code, and every skipped check has a reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.terraform import INFRA, ROOT

OWN = ROOT / ".checkov" / "bin" / "checkov"
"""Where ``make checkov`` installs checkov: its requirements contradict the package's, so it has its own environment."""

NO_REASON = "No comment provided"
"""Checkov's comment on a skip without a reason."""


@pytest.mark.slow
def test_checkov_reports_nothing_and_every_skip_has_a_reason(tmp_path: Path) -> None:
    checkov = str(OWN) if OWN.exists() else shutil.which("checkov")
    if checkov is None:
        pytest.skip("checkov is not installed: run make checkov")
    done = subprocess.run(
        [checkov, "--directory", str(INFRA), "--framework", "terraform", "--skip-download", "--output", "json"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CKV_", "TF_"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stderr
    report = json.loads(done.stdout)
    failed = {
        f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in report["results"]["failed_checks"]
    }
    assert failed == set()
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100
    skipped = [
        (each["check_id"], each["check_result"]["suppress_comment"]) for each in report["results"]["skipped_checks"]
    ]
    assert [check for check, reason in skipped if not reason or reason == NO_REASON] == []
