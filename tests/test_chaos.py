"""tools/chaos.py: one mishap of each kind."""

import subprocess
import sys

import pytest
from test_commands import ROOT, fails, run


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    command = [sys.executable, "tools/chaos.py", f"--outdir={tmp_path}", "--rounds=6"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "6 mishaps: all variables are equal" in result.stdout


def test_used_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    fails(run("tools/chaos.py", f"--outdir={tmp_path}"), tmp_path, "not empty")
