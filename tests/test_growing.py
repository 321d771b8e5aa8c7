"""Progressive growing of a run: images, networks, optimizers, data and the report."""

import json
import os
import signal

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tfstylegan import config as config_lib
from tfstylegan.data import pipeline, sources
from tfstylegan.networks import storage
from tfstylegan.training import devices, growing
from tfstylegan.training import loop as loop_lib

PARTS = ("g", "d", "g_ema", "g_optimizer", "d_optimizer")


def tiny_config():
    """4x4 to 16x16: 16 images at each resolution, 32 of fading; blocks of 2 steps."""
    config = config_lib.Config(seed=5)
    config.data.resolution, config.data.channels = 16, 1
    config.data.mirror = True
    for network in (config.generator, config.discriminator):
        network.architecture = "growing"
        network.fmap_base, network.fmap_max = 16, 4
    config.generator.z_dim = config.generator.w_dim = 4
    config.generator.mapping_layers = 1
    config.loss.lazy, config.loss.pl_weight = False, 0.0
    config.growing.initial_resolution = 4
    config.growing.train_kimg, config.growing.fade_kimg = 0.016, 0.032
    config.growing.minibatch_repeats = 2
    config.growing.batch_size = ((4, 8), (8, 4))
    config.growing.lr = ((8, 0.004), (16, 0.005))
    config.growing.tick_kimg = ((4, 0.008),)
    config.train.batch_size = 2
    config.train.tick_kimg = 0.012
    config.train.total_kimg = 0.104
    config.train.d_first = True
    config.train.checkpoint_ticks = config.train.image_ticks = 100
    config.train.metrics = ()
    config.train.grid = (1, 2)
    return config.validate()


# What holds at each step of a run: images seen, and the lod, constant within a block.
NUMBERS = [*range(0, 32, 8), *range(32, 72, 4), *range(72, 104, 2)]
LODS = np.repeat(
    [2, 2, 1.5, 1.25, 1, 1, 1, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0, 0], 2
)
CHECKED = (44, 78)  # images seen where resumed runs end, within a block


def blocks(image, side):
    """Mean over boxes, in the size of the image: loops over pixels [H, W, C]."""
    result = np.zeros(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            top, left = y // side * side, x // side * side
            box = image[top : top + side, left : left + side]
            result[y, x] = box.mean(axis=(0, 1))
    return result


@pytest.mark.parametrize("lod", [0.0, 0.25, 1.0, 1.5, 2.0, 3.0])
def test_oracle_real_images_at_a_lod(lod):
    images = np.random.normal(size=(2, 16, 24, 3))
    whole, fading = int(lod), lod % 1
    expected = [
        (1 - fading) * blocks(image, 2**whole)
        + fading * blocks(image, 2 ** (whole + 1))
        for image in images
    ]
    got = pipeline.at_lod(tf.constant(images), whole, fading or None)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def make(path, config):
    path.mkdir(exist_ok=True)
    source = sources.open_source("digits", height=16, width=16, channels=1)
    source = sources.ArraySource(  # of the size that is asked for
        source.pixels[
            :, :: 16 // config.data.resolution, :: 16 // config.data.resolution
        ],
        source.labels,
        description="digits",
        fingerprint="",
    )
    return loop_lib.Loop(
        config, path, source, tf.distribute.MirroredStrategy(["CPU:0"])
    )


@pytest.fixture
def eagerly():
    """Few steps in many stages are not worth tracing."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def variables(loop):
    return {
        f"{part}/{path}": variable.numpy()
        for part in PARTS
        for path, variable in storage.variables_by_path(
            getattr(loop.state, part)
        ).items()
    }


def largest_moment(optimizer):
    moments = [
        v for v in optimizer.variables if v.path.endswith(("momentum", "velocity"))
    ]
    return max(np.max(np.abs(moment.numpy())) for moment in moments)


def record(loop):
    """A list that gets what holds at each step of the loop."""
    seen, step, state = [], loop._step, loop.state

    def recorded(batch):
        networks = (state.g.synthesis, state.d, state.g_ema.synthesis)
        optimizers = (state.g_optimizer, state.d_optimizer)
        seen.append(
            {
                "cur_nimg": loop.cur_nimg,
                "images": batch["image"].numpy(),
                "lods": [n.lod.numpy() for n in networks],
                "rates": [o.learning_rate.numpy() for o in optimizers],
                "adam_steps": [o.iterations.numpy() for o in optimizers],
                "moments": [largest_moment(o) for o in optimizers],
                "variables": variables(loop) if loop.cur_nimg in CHECKED else None,
            }
        )
        return step(batch)

    loop._step = recorded
    return seen


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A whole run: its loop, and what was recorded."""
    tf.config.run_functions_eagerly(True)
    try:
        loop = make(tmp_path_factory.mktemp("straight"), tiny_config())
        seen = record(loop)
        loop.run()
    finally:
        tf.config.run_functions_eagerly(False)
    return loop, seen


def stats(loop):
    text = (loop.workdir / "stats.jsonl").read_text()
    return [x for x in map(json.loads, text.splitlines()) if "tick" in x]


def test_run_follows_the_schedule(straight):
    loop, seen = straight
    assert [s["cur_nimg"] for s in seen] == NUMBERS
    for s, lod in zip(seen, LODS, strict=True):
        assert s["lods"] == [lod] * 3
        rate = {2: 0.002, 1: 0.004, 0: 0.005}[int(lod)]
        assert s["rates"] == [pytest.approx(rate)] * 2


def test_run_sees_the_images_of_one_stream(straight):
    loop, seen = straight
    stream = pipeline.training_stream(loop.source, batch_size=104, seed=5, mirror=True)
    images = next(iter(stream))["image"].numpy()
    assert np.array_equal(np.concatenate([s["images"] for s in seen]), images)
    sizes = [len(s["images"]) for s in seen]
    assert sizes == [8] * 4 + [4] * 10 + [2] * 16


def test_adam_forgets_when_a_stage_begins_and_only_then(straight):
    _, seen = straight
    stages = [(np.floor(lod), np.ceil(lod)) for lod in LODS]
    count = 0
    for i, s in enumerate(seen):
        if i and stages[i] != stages[i - 1]:
            count = 0
        assert s["adam_steps"] == [count] * 2, i
        assert [moment > 0 for moment in s["moments"]] == [count > 0] * 2
        count += 1
    assert len(set(stages)) == 5


def test_report_tells_of_the_growing(straight):
    loop, _ = straight
    lines = stats(loop)
    # Ticks of 8 images, and of 12 from 16 on, where 8x8 may start to fade in.
    assert [x["tick"] for x in lines] == list(range(1, 11))
    assert [x["cur_nimg"] for x in lines] == [8, 16, 32, 40, 52, 64, 76, 88, 100, 104]
    assert [x["progress/resolution"] for x in lines] == [4] * 3 + [8] * 3 + [16] * 4
    lods = [x["progress/lod"] for x in lines]
    assert lods == [2, 2, 2, 1.5, 1, 1, 0.75, 0.375, 0, 0]
    assert [x["progress/batch_size"] for x in lines] == [8] * 3 + [4] * 3 + [2] * 4
    retraced = [x["tick"] for x in lines if x.get("timing/retrace")]
    assert retraced == [1, 4, 5, 7, 9]


def test_pictures_show_the_resolution_in_full_size(straight):
    loop, _ = straight
    folder = loop.workdir / "samples"
    first = np.asarray(PIL.Image.open(folder / "fakes000000.png"))
    assert first.shape == (16, 32)
    assert np.array_equal(first, np.kron(first[::4, ::4], np.ones([4, 4])))
    last = np.asarray(PIL.Image.open(folder / "fakes000000_104.png"))
    assert not np.array_equal(last, np.kron(last[::2, ::2], np.ones([2, 2])))
    reals = np.asarray(PIL.Image.open(folder / "reals000000.png"))
    assert not np.array_equal(reals, np.kron(reals[::2, ::2], np.ones([2, 2])))


@pytest.mark.parametrize(
    "stop, lod, end",
    [
        pytest.param(36, 1.5, 44, id="within a fade and a block"),
        pytest.param(*(72, 1, 78), id="where a stage begins", marks=pytest.mark.slow),
    ],
)
def test_equivalence_stopped_and_resumed_run(
    eagerly, straight, tmp_path, stop, lod, end
):
    config = tiny_config()
    config.train.total_kimg = end / 1000
    loop = make(tmp_path, config)
    step = loop._step

    def stopping(batch):
        if loop.cur_nimg == stop - 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch)

    loop._step = stopping
    assert loop.run() == signal.SIGTERM
    assert loop.state.cur_nimg.numpy() == stop
    again = make(tmp_path, config)
    assert again.state.d.lod.numpy() == lod
    assert again.run() is None
    (expected,) = (s["variables"] for s in straight[1] if s["cur_nimg"] == end)
    resumed = variables(again)
    assert resumed.keys() == expected.keys()
    assert len(expected) > 100
    for name, value in expected.items():
        assert np.array_equal(value, resumed[name]), name


@pytest.mark.slow
def test_one_trace_a_stage(tmp_path):
    """4x4, 8x8 fading in, 8x8; the pictures and metrics of each stage as well."""
    config = tiny_config()
    config.data.resolution = 8
    config.train.batch_size, config.growing.batch_size = 4, ()
    config.train.total_kimg = 0.072
    config.train.tick_kimg, config.growing.tick_kimg = 0.024, ()
    config.train.metrics, config.train.metric_ticks = ("pixel_frechet",), 1
    config.train.metric_images = 8
    loop, used = make(tmp_path, config.validate()), []
    begin = loop._begin_stage

    def begins():
        begin()
        used.append(loop.steps)

    used.append(loop.steps)
    loop._begin_stage = begins
    loop.run()
    assert [steps.stage for steps in used] == [(1, 1), (0, 1), (0, 0)]
    for steps in used:
        for phase in (steps.g_main, steps.d_main, steps.ema):
            assert phase.experimental_get_tracing_count() == 1
    values = [x.get("timing/retrace", 0) for x in stats(loop)]
    assert [value > 0 for value in values] == [True] * 3 + [False]
    lods = [x["progress/lod"] for x in stats(loop)]
    assert lods == [1, 0.5, 0, 0]


def test_two_replicas_grow_together(eagerly, tmp_path):
    config = tiny_config()
    config.growing.minibatch_repeats = 1
    config.train.total_kimg = 0.028  # two steps at 4x4, one before and in the fade
    config.discriminator.mbstd_group_size = 2
    source = sources.open_source("digits", height=16, width=16, channels=1)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    loop = loop_lib.Loop(config.validate(), tmp_path, source, strategy)
    loop.run()
    assert loop.cur_nimg == 28
    state = loop.state
    for network in (state.g.synthesis, state.d, state.g_ema.synthesis):
        values = strategy.experimental_local_results(network.lod.value)
        assert [float(value) for value in values] == [1.75, 1.75]
    iterations = state.g_optimizer.iterations.value
    values = strategy.experimental_local_results(iterations)
    assert [int(value) for value in values] == [1, 1]
    assert all(np.isfinite(value).all() for value in variables(loop).values())


def test_adam_is_reset_but_for_its_learning_rate():
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(3)])
    adam = keras.optimizers.Adam(0.5)
    adam.build(network.trainable_variables)
    adam.apply([tf.ones([2, 3]), tf.ones([3])], network.trainable_variables)
    assert all(np.any(variable.numpy()) for variable in adam.variables)
    growing.reset(adam)
    kept = [v.path for v in adam.variables if np.any(v.numpy())]
    assert kept == [adam.learning_rate.path]
    assert float(adam.learning_rate) == 0.5


@pytest.mark.parametrize(
    "table, message",
    [
        (
            ((4, 8), (8, 3)),
            "growing.batch_size .* of 2 on 2 devices; got 3 at resolution 8",
        ),
        (((4, 12), (8, 4)), "each of 2 devices .* = 4; got 12 at resolution 4"),
    ],
)
def test_batches_that_devices_cannot_share_are_refused(monkeypatch, table, message):
    gpus = [type("GPU", (), {"name": f"GPU:{i}"}) for i in range(2)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    config = tiny_config()
    config.growing.batch_size = table
    with pytest.raises(ValueError, match=message):
        devices.strategy(config)
