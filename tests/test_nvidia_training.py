"""An imported model trains on, with the configuration that came with it."""

import json
import pathlib

import numpy as np
import pytest
from test_commands import ROOT, run

from tfstylegan.interop import nvidia
from tfstylegan.networks import storage
from tfstylegan.training import state as state_lib
from tfstylegan.training import transfer

PICKLE = pathlib.Path(__file__).parent / "data" / "pickles" / "stylegan2_f_u32.pkl"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    networks, _ = nvidia.import_checkpoint(PICKLE)
    path = tmp_path_factory.mktemp("imported")
    storage.save_networks(path, networks)
    return path, networks


def test_a_run_takes_over_what_was_imported(imported):
    path, networks = imported
    state = state_lib.create(networks.config, 0)
    transfer.take_over(state, path)
    for name, field in storage.RUN_FIELDS.items():
        theirs = getattr(networks, name).variables
        for ours, other in zip(getattr(state, field).variables, theirs, strict=True):
            np.testing.assert_array_equal(ours, other, ours.path)


@pytest.mark.slow
def test_the_command_trains_on(imported, tmp_path):
    path, networks = imported
    result = run(
        "train",
        f"--config={path}",
        f"--config.resume_from={path}",
        "--config.data.source=digits",
        "--config.train.batch_size=4",
        "--config.train.total_kimg=0.016",
        "--config.train.tick_kimg=0.008",
        "--config.train.metrics=()",
        "--config.train.grid=(1,2)",
        f"--workdir={tmp_path / 'run'}",
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    lines = (tmp_path / "run" / "stats.jsonl").read_text().splitlines()
    ticks = [line for line in map(json.loads, lines) if "tick" in line]
    assert [line["cur_nimg"] for line in ticks] == [8, 16]
    assert np.isfinite(ticks[-1]["loss/g_main"])
    trained = storage.load_networks(tmp_path / "run").G_ema
    imported_kernels, kernels = (
        [np.asarray(v) for v in g.trainable_variables if v.path.endswith("kernel")]
        for g in (networks.G_ema, trained)
    )
    for before, after in zip(imported_kernels, kernels, strict=True):
        moved = np.std(after - before) / np.std(before)
        assert 0 < moved < 0.01  # the average is a few steps from where it came from
