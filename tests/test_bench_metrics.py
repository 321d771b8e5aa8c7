"""tools/bench_metrics.py: what it prints."""

import re

import pytest
from test_commands import run


@pytest.mark.slow
def test_metrics_benchmark_relates_its_figures():
    small = ["--features=3000", "--samples=100", "--rounds=1"]
    one = {"OPENBLAS_NUM_THREADS": "1"}  # on busy cores two wait for each other
    result = run("tools/bench_metrics.py", *small, **one)
    assert result.returncode == 0, result.stderr
    head, product, gathered, distance, manifolds = result.stdout.splitlines()
    assert head.split() == "what wall s processor s measured to be".split()
    for line in (product, gathered, distance, manifolds):
        wall, processor = map(float, line[44:65].split())
        assert wall > 0 and processor > 0
    ratios = re.findall(r"(\d\.\d\d)[, ]", gathered[68:92])
    assert len(ratios) == 2 and all(0 < float(ratio) < 2 for ratio in ratios)
    assert "3,000 x 2048" in gathered and "2048 features" in distance
    assert 0.05 < float(re.search(r"([\d.]+) GiB", manifolds)[1]) < 3
