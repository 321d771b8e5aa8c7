"""What the benchmarks of training print, on a tiny model."""

import re

import pytest
from test_commands import fails, run

from tfstylegan import ops

pytestmark = pytest.mark.slow

TINY = (
    "--config=configs/yardstick32.py",
    "--config.data.resolution=8",
    "--config.generator.fmap_max=4",
    "--config.discriminator.fmap_max=4",
    "--cycles=1",
)


def test_training_benchmark_relates_its_figures():
    result = run("tools/bench_training.py", *TINY)
    assert result.returncode == 0, result.stderr
    figures = dict(re.split(r" {2,}", line) for line in result.stdout.splitlines())
    speed = float(figures["images/s"])
    assert float(figures["seconds per kimg"]) == pytest.approx(1000 / speed, rel=0.01)
    product = float(figures["matrix product"].split()[0])
    relative = float(figures["images/s per GFLOP/s"])
    assert relative == pytest.approx(speed / product, rel=0.02)
    assert "g_reg" in figures["of it by phase"]


def test_comparison_of_ops_tells_them_apart():
    try:
        ops.library.library()
    except RuntimeError as error:
        pytest.skip(str(error))
    result = run("tools/compare_ops.py", *TINY)
    assert result.returncode == 0, result.stderr
    cells = [line.strip("| ").split(" | ") for line in result.stdout.splitlines()]
    table = {name: [float(x) for x in row] for name, *row in cells if _numbers(row)}
    compiled, twins, ratio = table["seconds of a cycle"]
    assert ratio == pytest.approx(compiled / twins, rel=0.05)
    compiled, twins, ratio = table["peak memory, GiB"]
    assert ratio == pytest.approx(compiled / twins, rel=0.05)
    assert table["TfstyleganUpfirdn2d"][0] > 0 == table["TfstyleganUpfirdn2d"][1]
    for side in (0, 1):
        parts = [row[side] for row in table.values() if len(row) == 2]
        assert 2 * table["all"][side] == pytest.approx(sum(parts), abs=0.05)


def test_comparison_of_rounds_relates_times_and_memory():
    result = run("tools/compare_rounds.py", *TINY)
    assert result.returncode == 0, result.stderr
    cells = [line.strip("| ").split(" | ") for line in result.stdout.splitlines()]
    table = {name: [float(x) for x in row] for name, *row in cells if _numbers(row)}
    assert set(table) == {"seconds of a cycle", "peak memory, GiB"}
    for parts, whole, ratio in table.values():
        assert ratio == pytest.approx(parts / whole, rel=0.05)


def test_rounds_that_tear_groups_apart_are_named():
    fails(run("tools/compare_rounds.py", *TINY, "--rounds=3"), "--rounds", "got 3")


def _numbers(row):
    return bool(row) and all(re.fullmatch(r"[\d.]+", x) for x in row)
