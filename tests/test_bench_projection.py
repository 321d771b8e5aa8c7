"""What the benchmark of projection prints, on a tiny model."""

import re

import pytest
import tool_runs
from test_commands import fails

TINY = (
    "--config=configs/yardstick32.py",
    "--config.data.resolution=8",
    "--config.generator.fmap_max=4",
    "--config.discriminator.fmap_max=4",
    "--pairs=2",
)


@pytest.mark.slow
def test_projection_benchmark_relates_steps_to_the_networks(monkeypatch):
    monkeypatch.chdir(tool_runs.ROOT)
    output = tool_runs.succeeds("bench_projection", *TINY, "--batches=2,1")
    rows = [re.split(r" {2,}", line) for line in output.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        [distance, batch] for distance in ("pixels", "discriminator") for batch in "21"
    ]
    for *_, step, alone, part in rows:
        assert float(part) == pytest.approx(float(step) / float(alone), abs=0.01)
        assert float(step) > 0


def test_projection_benchmark_tells_what_is_not_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tool_runs.ROOT)
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    wrong = tool_runs.run("bench_projection", *TINY, "--distance=lpips")
    fails(wrong, "vgg16-397923af.pth is missing")
