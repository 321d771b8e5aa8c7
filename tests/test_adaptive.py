"""Adaptive augmentation in training: the controller, the steps, replicas, resume."""

import json

import numpy as np
import pytest
import tensorflow as tf
import test_presets
import test_steps

from tfstylegan import augment, losses, rng
from tfstylegan.data import pipeline
from tfstylegan.networks import storage
from tfstylegan.training import adaptive
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib

BATCH, STEP = test_steps.BATCH, 5


@pytest.fixture
def eagerly():
    """Steps that run once are not worth tracing."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def follow(controller, signs, batch=64):
    for step, sign in enumerate(signs):
        controller.observe(tf.constant(sign), batch, tf.constant(step, tf.int64))


def test_oracle_controller():
    controller = adaptive.Controller(p=0.1, target=0.6, kimg=500, interval=4)
    follow(controller, [1.0, 0.5, 1.0, 0.5])
    assert controller.p.numpy() == pytest.approx(0.1 + 64 * 4 / 500000)
    assert controller.rt.numpy() == pytest.approx(0.75)
    follow(controller, [0.0, 1.0, 0.0, 1.0, 1.0])  # one of the next interval
    assert controller.p.numpy() == pytest.approx(0.1)
    assert controller.progress == {
        "progress/augment_p": pytest.approx(0.1),
        "augment/rt": pytest.approx(0.5),
    }
    assert (controller.signs.numpy(), controller.images.numpy()) == (64, 64)


def test_p_stays_at_0_or_above_but_may_pass_1():
    low, high = adaptive.Controller(kimg=0.5), adaptive.Controller(kimg=0.2)
    follow(low, [-1.0] * 8)
    follow(high, [1.0] * 8)
    assert low.p.numpy() == 0
    assert high.p.numpy() == pytest.approx(64 * 8 / 200)


def test_rt_counts_samples_where_batches_differ():
    controller = adaptive.Controller(interval=2)
    controller.observe(tf.constant(1.0), 30, tf.constant(6))
    controller.observe(tf.constant(0.0), 10, tf.constant(7))
    assert controller.rt.numpy() == pytest.approx(0.75)


def test_modes_make_their_controllers():
    config = test_steps.tiny_config().augment
    assert adaptive.create(config) is None
    config.mode, config.p = "fixed", 0.3
    controller = adaptive.create(config)
    follow(controller, [1.0] * 8)
    assert controller.p.numpy() == np.float32(0.3) and controller.rt.numpy() == 1


def config_with(mode="fixed", p=0.7, preset="bgcfnc", **changes):
    config = test_steps.tiny_config()
    config.data.channels = 1
    config.augment.mode, config.augment.p = mode, p
    config.augment.preset = preset
    for name, value in changes.items():
        setattr(config.augment, name, value)
    return config.validate()


def moved(rig, name):
    """What a step tells, and by how much it moves each weight of its network."""
    network = rig.state.g if name.startswith("g") else rig.state.d
    step = tf.constant(STEP, tf.int64)
    images, labels = rig.batch["image"], rig.batch["label"]
    args = (labels, step) if name.startswith("g") else (images, labels, step)
    before = [v.numpy() for v in network.trainable_variables]
    told = getattr(rig.steps, name)(*args)
    after = [v.numpy() for v in network.trainable_variables]
    return told, [b - a for b, a in zip(before, after, strict=True)]


PHASES = ("g_main", "d_main", "d_reg")


def test_p_of_zero_trains_as_without_augmentation(eagerly):
    without = test_steps.Rig(["CPU:0"], config=config_with("none"))
    zero = test_steps.Rig(["CPU:0"], config=config_with(p=0.0))
    assert without.steps.critic.augment is None and without.state.augment is None
    for name in PHASES:
        pairs = zip(moved(without, name)[1], moved(zero, name)[1], strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), name


def test_every_phase_sees_augmented_images_but_path_length(eagerly):
    config = config_with()
    without = test_steps.Rig(["CPU:0"], config=config_with("none"))
    rig = test_steps.Rig(["CPU:0"], config=config)
    for name in (*PHASES, "g_reg"):
        pairs = zip(moved(without, name)[1], moved(rig, name)[1], strict=True)
        same = all(np.array_equal(a, b) for a, b in pairs)
        assert same == (name == "g_reg"), name
        for part in ("g", "d"):  # the same start for the next phase
            ours = getattr(rig.state, part).variables
            theirs = getattr(without.state, part).variables
            for a, b in zip(ours, theirs, strict=True):
                a.assign(b.value)
        rig.state.pl_mean.assign(without.state.pl_mean)


def test_r1_is_the_slope_of_d_through_the_augmentation(eagerly):
    rig = test_steps.Rig(["CPU:0"], config=config_with(p=1.0))
    pipe = augment.Augment(height=16, width=16, channels=1, preset="bgcfnc")
    key = rng.seed(rig.config.seed, "d_reg/augment_0", STEP)
    drawn = pipe.draw(BATCH, 1.0, key)
    real = pipeline.to_float(rig.batch["image"])
    penalty, logits = losses.r1_penalty(
        lambda x: rig.state.d(pipe.apply(x, drawn)), real
    )
    plain, _ = losses.r1_penalty(rig.state.d, real)
    # Its square root is the slope of D along the gradient itself.
    with tf.GradientTape() as tape:
        tape.watch(real)
        total = tf.reduce_sum(rig.state.d(pipe.apply(real, drawn)))
    gradient = tape.gradient(total, real)
    norm = tf.norm(gradient)
    up, down = (
        tf.reduce_sum(rig.state.d(pipe.apply(real + s * gradient / norm, drawn)))
        for s in (0.01, -0.01)
    )
    assert np.isclose(norm**2, tf.reduce_sum(penalty), rtol=1e-4)
    assert np.isclose((up - down) / 0.02, norm, rtol=0.02)
    assert logits.shape == (BATCH, 1)
    told, _ = moved(rig, "d_reg")
    assert np.isclose(told["reg/r1"], tf.reduce_mean(penalty), rtol=1e-4)
    assert not np.isclose(told["reg/r1"], tf.reduce_mean(plain), rtol=1e-2)


def test_real_and_fake_images_have_draws_of_their_own(eagerly):
    rig = test_steps.Rig(["CPU:0"], config=config_with())
    seen = []
    rig.steps.critic._augmented = lambda images, stream, *_: (
        seen.append(stream) or images
    )
    for name in PHASES:
        moved(rig, name)
    assert len(set(seen)) == len(seen) == 4


def test_equivalence_two_replicas_of_half_the_batch(eagerly):
    config = config_with("adaptive", kimg=0.05, interval=1)
    one = test_steps.Rig(["CPU:0"], config=config)
    two = test_steps.Rig(["CPU:0", "CPU:1"], config=config)
    for name in PHASES:
        told_one, moved_one = moved(one, name)
        told_two, moved_two = moved(two, name)
        for key, value in told_one.items():
            a, b = np.sort(value, axis=None), np.sort(told_two[key], axis=None)
            atol = 1e-5 * np.max(np.abs(a))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol, err_msg=key)
        largest = max(np.max(np.abs(m)) for m in moved_one)
        for a, b in zip(moved_one, moved_two, strict=True):
            scale = max(np.max(np.abs(a)), 1e-2 * largest)
            assert np.max(np.abs(a - b)) < 1e-3 * scale, name
    assert one.state.augment.p.numpy() != np.float32(0.7)
    for name in ("p", "rt", "signs", "images"):
        a, b = (getattr(rig.state.augment, name) for rig in (one, two))
        assert a.numpy() == b.numpy(), name
        replicas = two.strategy.experimental_local_results(b)
        assert len(replicas) == 2 and replicas[0].numpy() == replicas[1].numpy()


def run_config(preset):
    """A step a tick, two of them between moves of p."""
    config = test_presets.shrunk("digits32")
    config.augment.mode, config.augment.preset = "adaptive", preset
    config.augment.kimg, config.augment.p = 0.05, 0.2
    config.augment.interval = 2
    config.loss.pl_weight = 0.0
    return config.validate()


def saved(loop):
    variables = {
        f"{part}/{path}": variable.numpy()
        for part in test_presets.PARTS
        for path, variable in storage.variables_by_path(
            getattr(loop.state, part)
        ).items()
    }
    controller = loop.state.augment
    names = ("p", "rt", "signs", "images")
    return variables | {name: getattr(controller, name).numpy() for name in names}


def ticks(path):
    lines = map(json.loads, (path / "stats.jsonl").read_text().splitlines())
    names = ("timing/", "resources/")
    return [
        {k: v for k, v in line.items() if not k.startswith(names)}
        for line in lines
        if "tick" in line
    ]


@pytest.mark.parametrize(
    "preset", ["blit", pytest.param("bgcfnc", marks=pytest.mark.slow)]
)
def test_equivalence_resumed_in_mid_interval(eagerly, tmp_path, preset):
    config = run_config(preset)
    paths = [tmp_path / name for name in ("straight", "stopped")]
    for path in paths:
        path.mkdir()
    straight = test_presets.make(paths[0], config, 0.016)
    straight.run()
    test_presets.make(paths[1], config, 0.012).run()
    again = test_presets.make(paths[1], config, 0.016)
    assert again.state.augment.images.numpy() == 4  # of the second interval
    again.run()
    expected, actual = saved(straight), saved(again)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        assert np.array_equal(value, actual[name]), name
    assert ticks(paths[0]) == ticks(paths[1])
    last = ticks(paths[0])[-1]
    assert last["progress/augment_p"] == float(straight.state.augment.p.numpy())
    assert -1 <= last["augment/rt"] <= 1 and last["progress/augment_p"] != 0.2


def test_checkpoints_of_other_runs_know_nothing_of_it(tmp_path):
    states = [state_lib.create(config_with(mode), 0) for mode in ("none", "adaptive")]
    keys = []
    for i, state in enumerate(states):
        path = state.checkpoint().save(str(tmp_path / f"ckpt{i}"))
        keys.append({name for name, _ in tf.train.list_variables(path)})
    assert {k.split("/")[1] for k in keys[1] - keys[0]} == {
        *("p", "rt", "signs", "images"),
    }
    assert keys[0] <= keys[1]


def test_p_rises_where_d_knows_the_few_images_by_heart():
    config = config_with("adaptive", 0.0, "blit", kimg=1.0)
    config.optimizer.d_lr = 0.005
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        state = state_lib.create(config, 0)
    steps = steps_lib.Steps(state, config, strategy)
    few = np.random.default_rng(0).integers(256, size=(BATCH, 16, 16, 1))
    images, labels = tf.constant(few, tf.uint8), tf.zeros([BATCH, 1])
    course = []
    for step in range(40):
        steps.d_main(images, labels, tf.constant(step, tf.int64))
        course.append(state.augment.p.numpy())
    assert state.augment.rt.numpy() > 0.6
    assert course[3] == 0  # D cannot tell them yet
    assert course[-1] >= 4 * 4 * BATCH / 1000
    assert np.all(np.diff(course[-17:]) >= 0)
