"""What the benchmark of projection prints, on a tiny model, and how it measures."""

import re
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
import tool_runs
from test_commands import run

sys.path.insert(0, str(tool_runs.TOOLS))
import projections

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
        assert float(step) > 0 and float(alone) > 0 and 0.1 < float(part) < 2


def test_speeds_are_medians_of_pairs_without_the_first(monkeypatch):
    now, done = [0.0], []

    def work(name, seconds):
        def does():
            now[0] += seconds[sum(x == name for x in done)]
            done.append(name)
            return tf.zeros([1])

        return does

    projector = types.SimpleNamespace(
        step=work("step", [50, 2, 4, 100]),
        networks_alone=work("alone", [70, 1, 3, 90]),
    )
    monkeypatch.setattr(projections.time, "perf_counter", lambda: now[0])
    found = projections.speeds(projector, 3)
    np.testing.assert_allclose(found, [1 / 4, 1 / 3, 0.75])
    assert done == ["step", "alone"] * 4
