"""What the benchmark of projection prints, on a tiny model."""

import re

import pytest
from test_commands import run

TINY = (
    "--config=configs/yardstick32.py",
    "--config.data.resolution=8",
    "--config.generator.fmap_max=4",
    "--config.discriminator.fmap_max=4",
    "--pairs=2",
)


@pytest.mark.slow
def test_projection_benchmark_relates_steps_to_the_networks():
    result = run("tools/bench_projection.py", *TINY, "--batches=2,1")
    assert result.returncode == 0, result.stderr
    rows = [re.split(r" {2,}", line) for line in result.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        [distance, batch] for distance in ("pixels", "discriminator") for batch in "21"
    ]
    for *_, step, alone, part in rows:
        assert float(part) == pytest.approx(float(step) / float(alone), abs=0.01)
        assert float(step) > 0
