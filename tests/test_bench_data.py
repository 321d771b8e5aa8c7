"""tools/bench_data.py: what it prints."""

import re

import pytest
from test_commands import run


@pytest.mark.slow
def test_data_benchmark_relates_its_figures():
    result = run("tools/bench_data.py", "--images=64", "--seconds=0.2")
    assert result.returncode == 0, result.stderr
    pillow, ours, cached = result.stdout.splitlines()
    rates = [
        float(x.replace(",", "")) for x in re.findall(r"([\d,]+) im", result.stdout)
    ]
    assert len(rates) == 3 and min(rates) > 0
    assert "Pillow, " in pillow and "cached 32x32" in cached
    assert 0.2 < float(ours.split()[-3]) < 5
