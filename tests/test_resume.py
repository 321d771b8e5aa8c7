"""A run that is killed and started again ends where an undisturbed run ends."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGS = (
    "--config.generator.fmap_base=32",
    "--config.discriminator.fmap_base=32",
    "--config.generator.z_dim=8",
    "--config.generator.w_dim=8",
    "--config.generator.mapping_layers=2",
    "--config.data.labels=true",
    "--config.data.mirror=true",
    "--config.data.resolution=16",
    "--config.train.batch_size=8",
    "--config.train.tick_kimg=0.16",
    "--config.train.total_kimg=1.6",
    "--config.train.checkpoint_ticks=2",
    "--config.train.image_ticks=5",
    "--config.train.metric_images=64",
)


def start(workdir):
    return subprocess.Popen(
        [sys.executable, "-m", "tfstylegan.train", f"--workdir={workdir}", *FLAGS],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def finish(process, returncode=0):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == returncode, errors.decode()[-2000:]


def wait_for_tick(workdir, process, tick):
    """Waits until a tick is reported: from here on the run is inside the next one."""
    stats = workdir / "stats.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if stats.exists() and f'"tick": {tick},' in stats.read_text():
            return
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        time.sleep(0.002)
    raise TimeoutError(f"no tick {tick}")


def variables(workdir):
    checkpoint = tf.train.latest_checkpoint(str(workdir / "checkpoints"))
    reader = tf.train.load_checkpoint(checkpoint)
    names = reader.get_variable_to_shape_map()
    skipped = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")
    return {
        name: reader.get_tensor(name) for name in names if not name.startswith(skipped)
    }


def stats(workdir):
    """What does not depend on the clock or the process."""
    lines = []
    for text in (workdir / "stats.jsonl").read_text().splitlines():
        line = json.loads(text)
        lines.append(
            {
                name: value
                for name, value in line.items()
                if not name.startswith(("timing/", "resources/"))
            }
        )
    return lines


def test_equivalence_killed_and_resumed_run(tmp_path):
    straight, disturbed = tmp_path / "straight", tmp_path / "disturbed"
    finish(start(straight))

    process = start(disturbed)
    wait_for_tick(disturbed, process, 5)  # the newest checkpoint is of tick 4
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish(start(disturbed))

    expected, actual = variables(straight), variables(disturbed)
    assert expected.keys() == actual.keys()
    for part in ("g", "d", "g_ema", "g_optimizer", "d_optimizer"):
        assert sum(name.startswith(f"{part}/") for name in expected) > 15, part
    assert int(expected["cur_nimg/.ATTRIBUTES/VARIABLE_VALUE"]) == 1600
    for name, value in expected.items():
        assert np.array_equal(value, actual[name]), name
    assert stats(straight) == stats(disturbed)


@pytest.mark.slow
def test_sigterm_saves_before_leaving(tmp_path):
    process = start(tmp_path)
    wait_for_tick(tmp_path, process, 1)  # no checkpoint is due before tick 2
    process.send_signal(signal.SIGTERM)
    finish(process, 128 + signal.SIGTERM)
    saved = variables(tmp_path)["cur_nimg/.ATTRIBUTES/VARIABLE_VALUE"]
    assert 160 <= saved < 1600
    finish(start(tmp_path))
    final = variables(tmp_path)["cur_nimg/.ATTRIBUTES/VARIABLE_VALUE"]
    assert final == 1600
