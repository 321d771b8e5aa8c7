"""Choices of losses and penalties, as the training steps carry them out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_steps

from tfstylegan import config_checks, rng
from tfstylegan.data import pipeline
from tfstylegan.training import objectives, schedules
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib

BATCH, STEP = test_steps.BATCH, 5


@pytest.fixture
def eagerly():
    """Steps that run once are not worth tracing."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def config_with(**loss):
    config = test_steps.tiny_config()
    config.generator.style_mixing_prob = 0.0
    for name, value in loss.items():
        setattr(config.loss, name, value)
    return config.validate()


def everything(lazy):
    """WGAN-GP with R1 and R2 on top."""
    return config_with(
        lazy=lazy,
        g_loss="wasserstein",
        d_loss="wasserstein",
        r1_gamma=10.0,
        r2_gamma=3.0,
        gp_lambda=5.0,
        gp_target=0.1,
        gp_drift=0.25,
    )


def test_every_loss_of_the_configuration_exists():
    assert tuple(objectives.G_LOSSES) == config_checks.G_LOSSES
    assert tuple(objectives.D_LOSSES) == config_checks.D_LOSSES


def fakes(rig, stream):
    """What G makes of a stream's random numbers, [N, H, W, C]."""
    g, step = rig.state.g, tf.constant(STEP, tf.int64)
    z = rng.normal(rng.seed(rig.config.seed, f"{stream}/z", step), [BATCH, 10])
    noise = g.synthesis.draw_noise(
        BATCH, rng.seed(rig.config.seed, f"{stream}/noise", step)
    )
    return g.synthesis(g.mapping(z), noise=noise)


def slopes(d, images):
    """dD/dx, differentiable itself."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(d(images))
    return tape.gradient(total, images)


def penalties(rig, real, fake):
    """Their definitions: R1, R2 and WGAN-GP, weighted, mean over the batch."""
    d, loss, seed = rig.state.d, rig.config.loss, rig.config.seed
    t = rng.uniform(
        rng.seed(seed, "d_reg/factors", tf.constant(STEP, tf.int64)), [BATCH, 1, 1, 1]
    )
    total = 0.0
    for weight, images in ((loss.r1_gamma, real), (loss.r2_gamma, fake)):
        squared = tf.reduce_sum(slopes(d, images) ** 2)
        total += weight / 2 * squared / BATCH
    between = slopes(d, (1 - t) * real + t * fake)
    norm = tf.sqrt(tf.reduce_sum(between**2, axis=(1, 2, 3)))
    away = (norm - loss.gp_target) ** 2 / loss.gp_target**2
    return total + loss.gp_lambda * tf.reduce_mean(away)


@pytest.mark.parametrize("lazy", [True, False])
def test_oracle_penalties_are_weighted_and_lazily_multiplied(eagerly, lazy):
    rig = test_steps.Rig(["CPU:0"], config=everything(lazy))
    d, name = rig.state.d, "d_reg" if lazy else "d_main"
    real, fake = pipeline.to_float(rig.batch["image"]), fakes(rig, name)
    variables = [v.value for v in d.trainable_variables]
    with tf.GradientTape() as tape:
        total = penalties(rig, real, fake)
        if lazy:
            total *= rig.config.loss.r1_interval
        else:
            logits = d(real)
            total += tf.reduce_mean(d(fake) - logits + 0.25 * logits**2)
    zero = tf.UnconnectedGradients.ZERO  # biases, for penalties alone
    expected = tape.gradient(total, variables, unconnected_gradients=zero)
    before = [v.numpy() for v in variables]
    args = (rig.batch["image"], rig.batch["label"], tf.constant(STEP, tf.int64))
    told = getattr(rig.steps, name)(*args)
    assert {"reg/r1", "reg/r2", "reg/gradient_penalty"} <= told.keys()
    assert ("loss/d_main" in told) is not lazy
    largest = max(np.max(np.abs(g)) for g in expected)
    for old, variable, wanted in zip(before, variables, expected, strict=True):
        moved = old - variable.numpy()
        scale = max(np.max(np.abs(wanted)), 1e-3 * largest)
        assert np.max(np.abs(moved - wanted)) < 1e-3 * scale, variable.name


def test_path_length_joins_the_main_loss_without_lazy_regularisation(eagerly):
    lazy = test_steps.Rig(["CPU:0"], config=config_with())
    start = [v.numpy() for v in lazy.state.g.trainable_variables]
    _, main = lazy.gradients("g_main")
    for variable, value in zip(lazy.state.g.trainable_variables, start, strict=True):
        variable.assign(value)
    regulariser, penalty = lazy.gradients("g_reg")
    joined = test_steps.Rig(["CPU:0"], config=config_with(lazy=False))
    told, both = joined.gradients("g_main")
    assert told.keys() == {"loss/g_main", *regulariser}
    interval = lazy.config.loss.pl_interval
    assert max(np.max(np.abs(p)) for p in penalty) > 1e-3
    for a, b, c, weight in zip(main, penalty, both, start, strict=True):
        error = np.max(np.abs(a + b / interval - c))
        rounding = np.spacing(np.max(np.abs(weight)))  # the mapping's are about 100
        assert error < 1e-4 * max(np.max(np.abs(c)), 1e-2) + 4 * rounding
    assert np.isclose(joined.state.pl_mean.numpy(), lazy.state.pl_mean.numpy())


def test_equivalence_two_replicas_with_every_penalty(eagerly):
    one = test_steps.Rig(["CPU:0"], config=everything(lazy=False))
    two = test_steps.Rig(["CPU:0", "CPU:1"], config=everything(lazy=False))
    told_one, moved_one = one.gradients("d_main")
    told_two, moved_two = two.gradients("d_main")
    for name in ("reg/gradient_penalty", "reg/r2", "loss/d_main"):
        np.testing.assert_allclose(told_one[name], told_two[name], rtol=1e-4)
    largest = max(np.max(np.abs(m)) for m in moved_one)
    for a, b in zip(moved_one, moved_two, strict=True):
        assert np.max(np.abs(a - b)) < 1e-3 * max(np.max(np.abs(a)), 1e-2 * largest)


def names_of_phases(config, steps):
    config.loss.pl_interval, config.loss.r1_interval = 2, 3
    own = steps_lib.Steps(None, config, None)
    batch = {"image": 0, "label": 0}
    return [[name for name, _ in own.phases(batch, i, 8)] for i in range(steps)]


def test_phases_without_lazy_regularisation_and_with_d_first():
    config = config_with(lazy=False)
    assert names_of_phases(config, 2) == [["g_main", "d_main", "ema"]] * 2
    config.train.d_first = True
    assert names_of_phases(config, 2) == [["d_main", "ema", "g_main"]] * 2
    config.loss.lazy = True
    assert names_of_phases(config, 3) == [
        ["d_main", "ema", "d_reg", "g_main", "g_reg"],
        ["d_main", "ema", "g_main"],
        ["d_main", "ema", "g_main", "g_reg"],
    ]


def test_phases_with_several_steps_of_d():
    config = config_with()
    config.train.d_steps = 2
    g, d = ["g_main"], ["d_main", "ema"]
    expected = [[*g, "g_reg", *d, "d_reg"], d, [*g, *d], [*d, "d_reg"]]
    assert names_of_phases(config, 5) == [*expected, [*g, "g_reg", *d]]
    config.train.d_first = True
    expected = [[*d, "d_reg"], [*d, *g, "g_reg"], d, [*d, "d_reg", *g]]
    assert names_of_phases(config, 4) == expected


@pytest.mark.parametrize(
    "loss, due",
    [
        ({"r1_gamma": 0.0}, False),
        ({"r1_gamma": 0.0, "r2_gamma": 1.0}, True),
        ({"r1_gamma": 0.0, "gp_lambda": 1.0}, True),
        ({"r1_gamma": 0.0, "gp_drift": 1.0}, False),  # part of the main loss
    ],
)
def test_phase_of_penalties_is_due_where_there_is_one(loss, due):
    assert ("d_reg" in names_of_phases(config_with(**loss), 1)[0]) is due


@pytest.mark.parametrize(
    "loss, g, d",
    [
        ({}, 4, 16),
        ({"pl_weight": 0.0}, 4, 16),  # StyleGAN2, row C: G has nothing to regularise
        ({"lazy": False}, 0, 0),
    ],
)
def test_adam_is_corrected_wherever_regularisation_is_lazy(loss, g, d):
    config = config_with(**loss)
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    intervals = state_lib.lazy_intervals(config.loss)
    assert intervals == (g, d)
    for interval in intervals:
        adam = state_lib._adam("adam", network, config, 0.002, interval)
        lr, _, beta2 = schedules.lazy_adam(0.002, 0.0, 0.99, interval)
        assert float(adam.learning_rate) == pytest.approx(lr)
        assert adam.beta_2 == beta2
