"""tools/ladder.py: what it makes of the rows, and its table on a tiny run."""

import re
import subprocess
import sys

import pytest
from test_commands import ROOT, fails, run

from tfstylegan import config as config_lib

sys.path.insert(0, str(ROOT / "tools"))
import ladder


@pytest.mark.parametrize("name", ladder.rows())
def test_rows_keep_what_makes_them(name):
    row = config_lib.preset(name)
    config, overrides = ladder.small(name, 16.0)
    assert config.data.image_size == (32, 32)
    assert config.train.total_kimg == 16
    for field in ("d_loss", "g_loss", "lazy", "gp_lambda", "pl_weight"):
        assert getattr(config.loss, field) == getattr(row.loss, field)
    for part in ("generator", "discriminator"):
        ours, theirs = getattr(config, part), getattr(row, part)
        assert ours.block == theirs.block
        assert ours.architecture == theirs.architecture
        assert ours.fmap_base * 16 == theirs.fmap_base
    assert config.generator.mapping_layers == row.generator.mapping_layers
    assert config.train.d_first == row.train.d_first
    assert len(set(overrides)) == len(overrides)


def test_rows_are_the_published_ones():
    names = ladder.rows()
    assert {"stylegan1_a", "stylegan2_f", "stylegan2_e_gorig_dskip"} <= set(names)
    assert not {"digits32", "stylegan1_digits32", "yardstick64"} & set(names)


def test_unknown_row_is_named(tmp_path):
    result = run("tools/ladder.py", f"--outdir={tmp_path}", "--rows=stylegan3")
    fails(result, "--rows", "stylegan3")


@pytest.mark.slow
def test_ladder_trains_and_measures(tmp_path):
    flags = ["--rows=stylegan1_a,stylegan2_e", "--kimg=1", "--rounds=1"]
    command = [sys.executable, "tools/ladder.py", f"--outdir={tmp_path}", *flags]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines()]
    table = {name: cells for name, *cells in rows if name.startswith("`")}
    assert set(table) == {"`stylegan1_a`", "`stylegan2_e`"}
    for g, d, speed, memory, distance in table.values():
        assert re.fullmatch(r"2\d\d,\d{3}", g) and re.fullmatch(r"2\d\d,\d{3}", d)
        assert float(speed) > 0 and 0.1 < float(memory) < 8 and float(distance) > 0
