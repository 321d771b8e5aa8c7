"""What the benchmark of start-up prints, on a tiny model."""

import pytest
from test_commands import fails, run

TINY = (
    "--config=configs/digits32.py",
    "--config.data.resolution=8",
    "--config.generator.fmap_max=4",
    "--config.discriminator.fmap_max=4",
    "--runs=1",
)


@pytest.mark.slow
def test_startup_benchmark_tells_cold_from_warm():
    result = run("tools/bench_startup.py", *TINY, timeout=600)
    assert result.returncode == 0, result.stderr
    *_, row = result.stdout.splitlines()
    number, cold, compiling, warm = (float(x) for x in row.strip("| ").split(" | "))
    assert number == 1
    assert warm > 1
    if not compiling:
        pytest.skip("nothing was built")
    assert cold > max(warm, compiling)


def test_training_that_does_not_start_is_told():
    options = "--config.data.source=/none", "--runs=1"
    fails(run("tools/bench_startup.py", *options), "training ended", "/none")
