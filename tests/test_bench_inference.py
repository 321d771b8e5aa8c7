"""What the benchmark of inference prints, on a tiny model."""

import re

import pytest
from test_commands import fails, run

pytestmark = pytest.mark.slow

TINY = (
    "--config=configs/yardstick32.py",
    "--config.data.resolution=8",
    "--config.generator.fmap_max=4",
    "--rounds=3",
)


def test_inference_benchmark_relates_its_figures():
    result = run("tools/bench_inference.py", *TINY, "--batches=4,1")
    assert result.returncode == 0, result.stderr
    rows = [re.split(r" {2,}", line) for line in result.stdout.splitlines()]
    figures = {(row[0], row[1]): [float(x) for x in row[2:]] for row in rows[2:]}
    assert list(figures) == [
        (what, batch)
        for batch in ("4", "1")
        for what in ("keras", "float32 stock", "bfloat16 stock")
    ]
    for key, (speed, relative, processor, of_keras, of_first) in figures.items():
        assert speed > 0 and relative > 0 and processor > 0 and of_first > 0
        assert key[0] != "keras" or of_keras == 1
        assert key[1] != "4" or of_first == 1


@pytest.mark.parametrize("batches", ["0", "x", "200"])
def test_inference_benchmark_tells_bad_batches(batches):
    fails(run("tools/bench_inference.py", *TINY, f"--batches={batches}"), "--batches")
