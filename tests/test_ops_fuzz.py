"""A short run of the fuzz driver; `make fuzz` makes the long one."""

import pathlib
import subprocess
import sys

import fuzz_ops
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("level", fuzz_ops.LEVELS)
def test_ops_under_sanitizers_are_clean_and_right(level):
    if fuzz_ops.runtime() is None:
        pytest.skip("no g++ with sanitizers")
    driver = pathlib.Path(fuzz_ops.__file__)
    done = subprocess.run(
        [sys.executable, str(driver), "--cases=1000", "--seed=1", f"--level={level}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.startswith("1000 cases in ")
