"""The outer loop: order of phases, what is saved when, signals, divergence."""

import json
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import checkpoints
from tfstylegan import config as config_lib
from tfstylegan.data import sources
from tfstylegan.metrics import suite
from tfstylegan.networks import storage
from tfstylegan.training import loop as loop_lib
from tfstylegan.training import safety, schedules, showing
from tfstylegan.training import steps as steps_lib


def tiny_config():
    config = config_lib.Config()
    config.data.resolution, config.data.channels = 8, 1
    for network in (config.generator, config.discriminator):
        network.fmap_base, network.fmap_max = 16, 4
    config.generator.z_dim = config.generator.w_dim = 4
    config.generator.mapping_layers = 1
    config.train.batch_size = 4
    config.train.tick_kimg = 0.008
    config.train.total_kimg = 0.032
    config.train.checkpoint_ticks = 3
    config.train.image_ticks = config.train.metric_ticks = 2
    config.train.metric_images = 8
    config.train.grid = (1, 2)
    return config.validate()


@pytest.fixture
def make(tmp_path):
    """make(config) -> Loop in the same workdir; without compiled steps."""

    def run(config):
        source = sources.open_source("digits", height=8, width=8, channels=1)
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        loop = loop_lib.Loop(config, tmp_path, source, strategy)

        def phases(batch, step, cur_nimg):
            yield "d_main", lambda: {"loss/d_main": tf.constant(0.5 * step)}
            yield "g_main", lambda: {"logits/real_of_step": tf.zeros([4])}

        loop.steps.phases = phases
        return loop

    tf.config.run_functions_eagerly(True)
    yield run
    tf.config.run_functions_eagerly(False)


def lines(workdir, key):
    text = (workdir / "stats.jsonl").read_text()
    return [x for x in map(json.loads, text.splitlines()) if key in x]


def saved(loop):
    return int(loop.state.cur_nimg.numpy())


def test_phases_come_in_order_and_when_due():
    config = tiny_config()
    config.loss.pl_interval, config.loss.r1_interval = 2, 3
    config.train.ema_halflife_kimg = 0.1
    steps = steps_lib.Steps(None, config, None)
    called = []
    for name in ("g_main", "g_reg", "d_main", "d_reg", "ema"):
        setattr(steps, name, lambda *args, name=name: called.append((name, args)))
    batch = {"image": "images", "label": "labels"}
    for step in range(4):
        for _, phase in steps.phases(batch, step, cur_nimg=4 * (step + 1)):
            phase()
    assert [name for name, _ in called] == [
        *("g_main", "g_reg", "d_main", "ema", "d_reg"),
        *("g_main", "d_main", "ema"),
        *("g_main", "g_reg", "d_main", "ema"),
        *("g_main", "d_main", "ema", "d_reg"),
    ]
    decays = [float(args[0]) for name, args in called if name == "ema"]
    assert np.allclose(decays, 0.5 ** (4 / 100))
    assert [int(a[1]) for n, a in called if n == "g_main"] == [0, 1, 2, 3]
    config.loss.r1_gamma = config.loss.pl_weight = 0.0
    names = [name for name, _ in steps.phases(batch, 0, 4)]
    assert names == ["g_main", "d_main", "ema"]


def test_ramp_up_reaches_the_moving_average():
    config = tiny_config()
    config.train.ema_rampup = 0.05
    steps = steps_lib.Steps(None, config, None)
    decays = []
    steps.ema = lambda decay: decays.append(float(decay))
    for name, phase in steps.phases({"image": 0, "label": 0}, 1, cur_nimg=400):
        if name == "ema":
            phase()
    assert np.allclose(decays, 0.5 ** (4 / 20))
    assert np.isclose(decays[0], schedules.ema_decay(400, 4, 10.0, 0.05))


def test_ticks_checkpoints_and_views(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TFSTYLEGAN_OPS", "reference")
    loop = make(tiny_config())
    assert loop.run() is None
    ticks = lines(tmp_path, "tick")
    assert [x["cur_nimg"] for x in ticks] == [8, 16, 24, 32]
    assert [x["loss/d_main"] for x in ticks] == [0.25, 1.25, 2.25, 3.25]
    assert "logits/real_of_step" not in ticks[0]
    assert {x["ops"] for x in ticks} == {"reference ops (TFSTYLEGAN_OPS=reference)"}
    views = [x["cur_nimg"] for x in lines(tmp_path, "metric/pixel_frechet")]
    assert views == [0, 16, 32]
    assert checkpoints.numbers(loop.checkpoints) == [24, 32]
    names = {file.name for file in (tmp_path / "samples").iterdir()}
    assert {"reals000000.png", "fakes000000_016.png", "fakes000000_032.png"} <= names
    assert (tmp_path / "model" / "G_ema.keras").exists()
    before = (tmp_path / "stats.jsonl").read_text()
    assert make(tiny_config()).run() is None  # finished: nothing to do
    assert (tmp_path / "stats.jsonl").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_metrics_are_computed_saves(make, number):
    handler = signal.getsignal(number)
    loop = make(tiny_config())

    def interrupted(values, cur_nimg):
        if cur_nimg:
            os.kill(os.getpid(), number)

    report = showing.report_lib.Report
    original = report.metrics
    report.metrics = lambda self, *args: interrupted(*args)
    try:
        assert loop.run() == number
    finally:
        report.metrics = original
    assert saved(loop) == 16
    assert checkpoints.numbers(loop.checkpoints) == [16]
    assert signal.getsignal(number) == handler
    again = make(tiny_config())
    assert (again.step, again.cur_nimg) == (4, 16)


def test_signal_before_the_first_step_and_at_the_last(make, tmp_path):
    loop = make(tiny_config())
    gallery = showing.gallery.Gallery
    original = gallery.reals
    gallery.reals = lambda self, cur_nimg: os.kill(os.getpid(), signal.SIGTERM)
    try:
        assert loop.run() == signal.SIGTERM
    finally:
        gallery.reals = original
    assert saved(loop) == 0
    loop = make(tiny_config())
    step = loop._step

    def last(batch):
        if loop.cur_nimg == 28:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch)

    loop._step = last
    assert loop.run() == signal.SIGTERM
    assert saved(loop) == 32
    assert not (tmp_path / "model").exists()
    assert make(tiny_config()).run() is None  # the same command finishes
    assert (tmp_path / "model" / "config.json").exists()
    assert lines(tmp_path, "metric/pixel_frechet")[-1]["cur_nimg"] == 32


def test_the_best_model_is_kept_and_can_be_loaded(make, tmp_path, monkeypatch):
    values = iter([9.0, 3.0, 5.0])

    def compute(self, name, *_, **__):
        value = next(values)
        return {"value": value, "values": {name: value}}

    monkeypatch.setattr(suite.Suite, "compute", compute)
    config = tiny_config()
    config.train.keep_best = 1
    loop = make(config)
    loop.run()  # metrics at 0, which does not count, 16 and 32
    assert (tmp_path / "best").readlink().name == "best-000000_016"
    networks = storage.load_networks(tmp_path / "best")
    assert networks.G_ema is not None and networks.config == config


def test_views_that_a_kill_cut_off_are_made_up_for(make, tmp_path, monkeypatch):
    config = tiny_config()
    config.train.checkpoint_ticks = 2

    def killed(self, cur_nimg):
        if cur_nimg == 16:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(showing.gallery.Gallery, "metrics", killed)
        with pytest.raises(KeyboardInterrupt):
            make(config).run()
    assert checkpoints.numbers(tmp_path / "checkpoints") == [16]
    make(config).run()
    views = [x["cur_nimg"] for x in lines(tmp_path, "metric/pixel_frechet")]
    assert views == [16, 32]  # not at 0, where it is patched out
    pictures = [x["cur_nimg"] for x in lines(tmp_path, "hint/variety")]
    assert pictures == [0, 16, 32]  # those at 16 were there


def test_ticks_tell_where_time_went_and_what_was_used(make, tmp_path):
    make(tiny_config()).run()
    ticks = lines(tmp_path, "tick")
    for name in ("data_wait", "d_main", "g_main", "loop"):
        assert 0 <= ticks[1][f"timing/{name}"] <= 1, name
    parts = ("data_wait", "d_main", "g_main", "loop")
    assert sum(ticks[1][f"timing/{name}"] for name in parts) == pytest.approx(1)
    assert "timing/retrace" in ticks[0] and "timing/retrace" not in ticks[1]
    assert [t["cur_nimg"] for t in ticks if "timing/checkpoint" in t] == [32]
    assert [t["cur_nimg"] for t in ticks if "timing/metrics" in t] == [8, 24]
    measured = lines(tmp_path, "usage/resolution_8")
    assert [x["cur_nimg"] for x in measured] == [0, 16, 32]
    assert measured[0]["usage/resolution_4"] + measured[0][
        "usage/resolution_8"
    ] == pytest.approx(1)
    assert {t["hint/saturated_ticks"] for t in ticks} == {0}


def test_longer_run_renews_the_model(make, tmp_path):
    make(tiny_config()).run()
    config = tiny_config()
    config.train.total_kimg = 0.04
    loop = make(config)
    loop.run()
    assert loop.cur_nimg == 40
    model = config_lib.load(tmp_path / "model")
    assert model.train.total_kimg == 0.04


def test_divergence_stops_and_keeps_the_checkpoints(make, tmp_path):
    config = tiny_config()
    config.train.nonfinite_steps = 2
    loop = make(config)
    phases = loop.steps.phases

    def diverging(batch, step, cur_nimg):
        yield from phases(batch, step, cur_nimg)
        value = float("nan") if cur_nimg > 24 else 1.0
        yield "g_reg", lambda: {"loss/g_main": tf.constant(value)}

    loop.steps.phases = diverging
    words = "phase g_reg of step 6, kimg 0.028: loss/g_main is nan; .* of kimg 0.024"
    with pytest.raises(safety.Diverged, match=words):
        loop.run()
    assert checkpoints.numbers(loop.checkpoints) == [24]
    assert [x["cur_nimg"] for x in lines(tmp_path, "tick")] == [8, 16, 24]
    assert not (tmp_path / "model").exists()
