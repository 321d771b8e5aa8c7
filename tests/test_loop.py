"""The outer loop: order of phases, what is saved when, signals, divergence."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import checkpoints
from tfstylegan import config as config_lib
from tfstylegan.data import sources
from tfstylegan.metrics import detectors, suite
from tfstylegan.metrics.detectors import classifier
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

    def run(config, devices=("CPU:0",)):
        source = sources.open_source(
            "digits", height=8, width=8, channels=1, labels=config.data.labels
        )
        strategy = tf.distribute.MirroredStrategy(list(devices))
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
        return {"metric": name, "value": value, "values": {name: value}}

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


def measured(workdir):
    """What metrics.jsonl holds."""
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_metrics_on_a_schedule_tell_their_circumstances(make, tmp_path):
    config = tiny_config()
    config.train.metrics = ("pixel_frechet", "fid8", "resolution_usage8")
    other = {"metric": "fid8", "cur_nimg": 99, "network": "trained"}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(other) + "\n")  # of `evaluate`
    make(config).run()  # there is no file of Inception: fid8 is left out
    kept, *found = measured(tmp_path)
    assert kept == other
    expected = [
        (name, seen)
        for seen in (0, 16, 32)
        for name in ("pixel_frechet", "resolution_usage8")
    ]
    assert [(x["metric"], x["cur_nimg"]) for x in found] == expected
    told = lines(tmp_path, "metric/pixel_frechet")
    assert [x["value"] for x in found[::2]] == [x["metric/pixel_frechet"] for x in told]
    assert found[0]["detector"]["detector"] == "pixels" and found[0]["num_fake"] == 8
    about = {"network": "trained", "model": str(tmp_path), "during": "training"}
    for line in found:
        assert about.items() <= line.items()
        assert {"seed", "truncation_psi", "noise_mode", "ops", "version"} <= line.keys()
    texts = {}
    for file in (tmp_path / "tensorboard").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "metric/pixel_frechet/circumstances":
                    texts[event.step] = value.tensor.string_val[0].decode()
    assert set(texts) == {0, 16, 32}
    assert '"detector": "pixels"' in texts[16]


def test_a_detector_file_that_is_refused_does_not_end_training(make, tmp_path, capsys):
    folder = tmp_path / "detectors"
    folder.mkdir()
    (folder / "inception-2015-12-05.tgz").write_bytes(b"something else")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  inception-2015-12-05.tgz\n")
    config = tiny_config()
    config.train.metrics = ("fid8", "pixel_frechet")
    config.train.detector_dir = str(folder)
    make(config).run()
    told = capsys.readouterr().out
    assert told.count("warning: no fid8: ") == 3
    assert "SHA-256" in told and "; training goes on" in told
    assert [x["metric"] for x in measured(tmp_path)] == ["pixel_frechet"] * 3


def test_classifier_learns_labels_that_the_networks_do_not_take(make, monkeypatch):
    """Those of the same images; where there are none the metric is left out."""
    config = tiny_config()
    config.data.source = "digits"
    loop = make(config)
    original, learned = classifier.of_source, []
    monkeypatch.setattr(
        classifier, "of_source", lambda source, _: learned.append(source)
    )
    shown = showing.gallery.Gallery(config, loop.source, loop.state.g_ema, None, None)
    shown.suite.detectors("classifier")
    assert loop.source.label_dim == 0 and learned[0].label_dim == 10
    assert np.array_equal(learned[0].pixels, loop.source.pixels)
    with pytest.raises(detectors.Unavailable, match="needs labels, and digits.* has"):
        original(loop.source, "nowhere")


def test_repeated_ticks_do_not_repeat_their_metrics(make, tmp_path, monkeypatch):
    """Killed between metrics.jsonl and stats.jsonl, after a checkpoint and without."""
    config = tiny_config()  # checkpoints at 24 and 48
    config.train.total_kimg = 0.064
    kind = showing.report_lib.Report
    original = kind.scalars

    def dies(at):
        def scalars(self, values, cur_nimg):
            if cur_nimg == at and "metric/pixel_frechet" in values:
                raise KeyboardInterrupt
            original(self, values, cur_nimg)

        return scalars

    for at in (32, 48):
        with monkeypatch.context() as patch:
            patch.setattr(kind, "scalars", dies(at))
            with pytest.raises(KeyboardInterrupt):
                make(config).run()
        assert measured(tmp_path)[-1]["cur_nimg"] == at  # what is not told in stats
    make(config).run()
    assert [x["cur_nimg"] for x in measured(tmp_path)] == [0, 16, 32, 48, 64]


def test_metrics_in_two_replicas_are_those_of_one(make, tmp_path, monkeypatch):
    config = tiny_config()
    config.train.total_kimg = 0.008
    config.train.metric_images = 40  # more than a batch
    found, used = [], []
    original = showing.Showing

    def spy(*args):
        used.append([name[-5:] for name in args[-1]])
        return original(*args)

    monkeypatch.setattr(showing, "Showing", spy)
    for names in (["CPU:0"], ["CPU:0", "CPU:1"]):
        make(config, names).run()
        assert used.pop() == names
        found.append([x["values"] for x in measured(tmp_path)])
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert len(found[0]) == 2
    for one, two in zip(*found, strict=True):
        assert one == pytest.approx(two, rel=1e-6)


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
