"""configs/auto.py: its rules at their knots, and on the command line."""

import runpy

import pytest
from test_commands import fails, run

from tfstylegan import config as config_lib

AUTO = runpy.run_path(str(config_lib.preset_path("auto")))
NAMES = ("batch_size", "mbstd_group_size", "fmap_base", "lr", "r1_gamma")


@pytest.mark.parametrize(
    "resolution, gpus, expected",
    [
        (128, 1, (32, 4, 8192, 0.0025, 0.1024)),
        (256, 1, (16, 4, 8192, 0.0025, 0.8192)),
        (256, 8, (64, 4, 8192, 0.0025, 0.2048)),
        (512, 1, (8, 4, 16384, 0.0025, 6.5536)),
        (1024, 1, (4, 4, 16384, 0.002, 52.4288)),
        (1024, 8, (32, 4, 16384, 0.002, 6.5536)),
        (2048, 8, (16, 2, 16384, 0.002, 52.4288)),
        (32, 128, (128, 1, 8192, 0.0025, 0.0016)),
    ],
)
def test_oracle_values(resolution, gpus, expected):
    values = AUTO["values"](resolution=resolution, gpus=gpus)
    assert [values[name] for name in NAMES] == pytest.approx(list(expected))
    assert values["ema_halflife_kimg"] == pytest.approx(values["batch_size"] * 10 / 32)
    assert (values["ema_rampup"], values["mapping_layers"]) == (0.05, 2)


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
@pytest.mark.parametrize("resolution", [32, 64, 128, 256, 512, 1024])
def test_every_usual_size_makes_a_configuration(resolution, gpus):
    config = AUTO["get_config"](f"resolution={resolution},gpus={gpus}").validate()
    batch = config.train.batch_size
    assert batch % gpus == 0 and config.data.resolution == resolution
    assert config.loss.r1_gamma == pytest.approx(0.0002 * resolution**2 / batch)
    assert config.optimizer.g_lr == config.optimizer.d_lr


def test_a_batch_size_that_is_wanted_moves_the_rest():
    config = AUTO["get_config"]("resolution=512,batch_size=32")
    assert (config.train.batch_size, config.train.ema_halflife_kimg) == (32, 10)
    assert config.loss.r1_gamma == pytest.approx(1.6384)


def test_auto_on_the_command_line():
    flags = ["--config.data.mirror=true", "--dry_run"]
    for name in ("configs/auto.py", "auto.py"):
        done = run("train", f"--config={name}:resolution=512,gpus=4", *flags)
        assert done.returncode == 0, done.stderr
        config = config_lib.from_json(done.stdout)
        assert (config.train.batch_size, config.data.resolution) == (32, 512)
        assert config.data.mirror
    for wrong in ("size=3", "gpus=0", "gpus", "resolution=-1"):
        fails(run("train", f"--config=configs/auto.py:{wrong}", "--dry_run"), "auto.py")
    fails(run("train", "--config=configs/digits32.py:a=1", "--dry_run"), "digits32.py")
