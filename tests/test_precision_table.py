"""tools/precision_table.py: its table on a tiny run, which it does not repeat."""

import subprocess
import sys

import pytest
from test_commands import ROOT, fails, run

TINY = (
    "--config=digits32",
    "--config.data.resolution=8",
    "--config.generator.fmap_base=16",
    "--config.discriminator.fmap_base=16",
    "--config.generator.z_dim=8",
    "--config.generator.w_dim=8",
    "--config.train.batch_size=8",
    "--config.train.tick_kimg=0.032",
    "--config.train.metric_images=16",
    "--config.train.grid=(1,2)",
    "--dtypes=float32,bfloat16",
    "--rounds=1",
)


@pytest.mark.parametrize(
    "flag, words",
    [
        ("--dtypes=float32,float8", ("config.precision.dtype", "float8")),
        ("--seeds=0,one", ("--seeds", "one")),
    ],
)
def test_bad_flags_are_named(tmp_path, flag, words):
    fails(run("tools/precision_table.py", f"--outdir={tmp_path}", flag), *words)


@pytest.mark.slow
def test_table_relates_types_to_the_first(tmp_path):
    flags = (*TINY, f"--outdir={tmp_path}", "--kimg=0.064", "--seeds=3,4")
    tables = []
    for _ in range(2):
        command = [sys.executable, "tools/precision_table.py", *flags]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines()]
        table = {name: cells for name, *cells in rows if name.startswith("`")}
        assert list(table) == ["`float32`", "`bfloat16`"]
        tables.append(table)
        for name, (speed, memory, *distances, mean, ratio) in table.items():
            assert float(speed) > 0 and 0.1 < float(memory) < 8
            values = [float(distance) for distance in distances]
            assert abs(sum(values) / 2 - float(mean)) < 0.001
            first = float(table["`float32`"][-2])
            assert abs(float(mean) / first - float(ratio)) < 0.01, name
    # The second time every run was there already, with the same distances.
    assert [row[2:] for row in tables[0].values()] == [
        row[2:] for row in tables[1].values()
    ]
    stats = (tmp_path / "bfloat16_4" / "stats.jsonl").read_text()
    assert stats.count('"tick"') == 2
