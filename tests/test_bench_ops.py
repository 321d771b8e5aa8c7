"""tools/bench_ops.py: its table on the smallest shapes."""

import pytest
from test_commands import run

from tfstylegan import ops


def test_benchmark_of_ops_measures_every_op_and_pass():
    try:
        ops.library.library()
    except RuntimeError as error:
        pytest.skip(str(error))
    result = run("tools/bench_ops.py", "--resolutions=8", "--batch=1", "--repeats=1")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 8 * 3
    assert len({line.count("|") for line in lines}) == 1
    for line in lines[2:]:
        label, twin, _, compiled, copy, share, ratio, *_ = line.strip("| ").split(" | ")
        assert label.endswith(("forward", "backward"))
        twin, compiled, copy = float(twin), float(compiled), float(copy)
        assert min(twin, compiled, copy) > 0
        assert float(share[:-2]) == pytest.approx(100 * copy / compiled, rel=0.2, abs=1)
        assert float(ratio) == pytest.approx(twin / compiled, rel=0.2, abs=0.1)
