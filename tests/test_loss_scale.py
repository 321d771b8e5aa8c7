"""Training in 16 bits: gradients, loss scaling, skipped steps, resuming, XLA."""

import numpy as np
import pytest
import tensorflow as tf
from test_precision import DTYPES, tolerance
from test_steps import Rig, tiny_config

from tfstylegan import losses
from tfstylegan.training import devices, finite, growing, loss_scale, precision
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib

PHASES = ("g_main", "g_reg", "d_main", "d_reg")
STEP = 5


def config_of(dtype, **options):
    config = tiny_config()
    config.precision.dtype = dtype
    for name, value in options.items():
        setattr(config.precision, name, value)
    return config.validate()


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


def gradients(config):
    """{phase: gradients of it at the start, as one vector}."""
    rig, found = Rig(["CPU:0"], config=config), {}
    for name in PHASES:
        _, moved = rig.gradients(name)
        network = rig.state.g if name.startswith("g") else rig.state.d
        for variable, move in zip(network.trainable_variables, moved, strict=True):
            variable.assign_add(move)
        rig.state.pl_mean.assign(0.0)
        found[name] = flat(moved)
    return found


class Scaled:
    """A state whose optimizers scale losses, with its steps."""

    def __init__(self, devices=("CPU:0",)):
        self.rig = Rig(list(devices), config=config_of("float16"))
        with self.rig.strategy.scope():
            self.state = state_lib.create(self.rig.config, 0)
        self.steps = steps_lib.Steps(self.state, self.rig.config, self.rig.strategy)

    def weights(self):
        return flat([v.numpy() for v in self.state.g.trainable_variables])

    def step(self, number):
        images, labels = self.rig.batch["image"], self.rig.batch["label"]
        batch = {"image": images, "label": labels}
        for _, phase in self.steps.phases(batch, number, cur_nimg=0):
            phase()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_in_16_bits_are_those_of_float32(dtype, monkeypatch):
    """First order, and second order of both regularisers, whatever the loss scale."""
    wide = gradients(config_of("float32"))

    class Wide(tf.keras.optimizers.SGD):  # as Keras scales: before, not after
        def scale_loss(self, loss):
            return loss * (64.0 if dtype == "float16" else 1.0)

        def apply(self, grads, variables):
            factor = self.scale_loss(1.0)
            super().apply([g / factor for g in grads], variables)

    monkeypatch.setattr(tf.keras.optimizers, "SGD", Wide)
    narrow = gradients(config_of(dtype))
    # 2 levels of 2 layers, 5 roundings each, in the forward pass, its gradient and
    # the gradients of both.
    bound = tolerance(dtype, 4 * 2 * 2 * 5)
    for name in PHASES:
        error = np.linalg.norm(narrow[name] - wide[name]) / np.linalg.norm(wide[name])
        assert 0 < error < bound, (name, error)


def test_inner_gradients_below_float16_are_kept_by_their_scale():
    images = tf.constant(np.random.default_rng(0).normal(size=(4, 8, 8, 2)), tf.float32)

    def discriminate(x):
        x = tf.cast(x, tf.float16) * tf.constant(1.5e-4, tf.float16)
        x = x * tf.constant(1e-4, tf.float16)  # gradients of 1.5e-8, half the smallest
        x = tf.reduce_sum(tf.cast(x, tf.float32), axis=(1, 2, 3))
        return x[:, tf.newaxis]

    expected = 8 * 8 * 2 * (1.5e-4 * 1e-4) ** 2
    lost, _ = losses.r1_penalty(discriminate, images)
    assert not np.any(np.isclose(lost, expected, rtol=0.5, atol=0))
    kept, _ = losses.r1_penalty(discriminate, images, loss_scale.GRADIENT_SCALE)
    np.testing.assert_allclose(kept, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("scale", [1.0, 256.0])
def test_scale_of_inner_gradients_changes_no_value_in_float32(scale):
    numbers = np.random.default_rng(0)
    images = tf.constant(numbers.normal(size=(4, 2, 2, 2)), tf.float32)
    other = tf.constant(numbers.normal(size=(4, 2, 2, 2)), tf.float32)
    factors = tf.constant(numbers.uniform(size=(4, 1, 1, 1)), tf.float32)

    def discriminate(x):
        return tf.reduce_sum(x**3, axis=(1, 2, 3))[:, tf.newaxis]

    penalty, _ = losses.r1_penalty(discriminate, images, scale)
    plain = np.sum((3 * images.numpy() ** 2) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(penalty, plain, rtol=1e-5)
    between = losses.gradient_penalty(discriminate, images, other, factors, scale=scale)
    mixed = images + (other - images) * factors
    norm = np.sqrt(np.sum((3 * mixed.numpy() ** 2) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(between, (norm - 1) ** 2, rtol=1e-4)
    lengths = losses.path_lengths(
        lambda ws: tf.reshape(ws, [4, 2, 2, 2]) ** 2,
        tf.reshape(images, [4, 2, 4]),
        other,
        scale,
    )
    slope = np.reshape(2 * images.numpy() * other.numpy() / 2, [4, 2, 4])
    expected = np.sqrt(np.mean(np.sum(slope**2, axis=2), axis=1))
    np.testing.assert_allclose(lengths, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "names", [["CPU:0"], pytest.param(["CPU:0", "CPU:1"], marks=pytest.mark.slow)]
)
def test_overflow_skips_the_step_and_halves_the_scale(names):
    scaled = Scaled(names)
    optimizer, before = scaled.state.g_optimizer, scaled.weights()
    labels = scaled.rig.batch["label"]
    optimizer.dynamic_scale.assign(1e38)
    told = scaled.steps.g_main(labels, tf.constant(STEP, tf.int64))
    assert np.array_equal(scaled.weights(), before)
    assert all(np.isfinite(x) for x in told.values())  # no fault: safety sees none
    assert not set(finite.NAMES) & set(told)
    assert optimizer.iterations.numpy() == 0
    told = loss_scale.progress(scaled.state)
    assert told["precision/skipped_steps_g"] == 1
    assert told["precision/skipped_steps_d"] == 0
    assert np.isclose(told["precision/loss_scale_g"], 5e37)
    optimizer.dynamic_scale.assign(1024.0)
    scaled.steps.g_main(labels, tf.constant(STEP, tf.int64))
    assert np.max(np.abs(scaled.weights() - before)) > 1e-4
    assert optimizer.iterations.numpy() == optimizer.step_counter.numpy() == 1
    assert loss_scale.progress(scaled.state)["precision/skipped_steps_g"] == 1


def test_overflow_on_one_replica_is_that_of_all():
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        variable = tf.keras.Variable([1.0], name="v")
        optimizer = loss_scale.LossScale(tf.keras.optimizers.SGD(1.0), name="o")
        optimizer.build([variable])

    @tf.function
    def step(bad):
        def one():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradient = tf.where(tf.equal(replica, bad), np.inf, 2.0**15)
            optimizer.apply([gradient[tf.newaxis]], [variable])

        strategy.run(one)

    for bad, value, skipped in ((0, 1.0, 1), (1, 1.0, 2), (7, -7.0, 2)):
        step(tf.constant(bad))
        assert float(variable.numpy()[0]) == value  # 2 replicas, scale 2^15 / 4
        assert int(optimizer.skipped.numpy()) == skipped
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**13


def test_stages_of_growth_keep_the_loss_scale():
    optimizer = state_lib.create(config_of("float16"), 0).g_optimizer
    optimizer.dynamic_scale.assign(64.0)
    optimizer.skipped.assign(3)
    optimizer.inner_optimizer.iterations.assign(9)
    growing.reset(optimizer)
    assert float(optimizer.dynamic_scale) == 64 and int(optimizer.skipped) == 3
    assert int(optimizer.iterations) == 0
    assert np.isclose(float(optimizer.learning_rate), 0.002 * 4 / 5)


def test_only_float16_has_a_loss_scale():
    for dtype in ("float32", "bfloat16"):
        state = state_lib.create(config_of(dtype), 0)
        assert loss_scale.progress(state) == {}
        assert loss_scale.gradient_scale(config_of(dtype)) == 1


@pytest.mark.slow
def test_resumed_run_in_float16_has_the_same_bits(tmp_path):
    straight, resumed = Scaled(), Scaled()
    straight.state.d_optimizer.dynamic_scale.assign(1e38)  # so that steps are skipped
    for number in range(3):
        straight.step(number)
    path = straight.state.checkpoint().write(str(tmp_path / "ckpt"))
    resumed.state.checkpoint().read(path).assert_consumed()
    told = loss_scale.progress(straight.state)
    assert told["precision/skipped_steps_d"] > 0
    assert told == loss_scale.progress(resumed.state)
    for scaled in (straight, resumed):
        for number in range(3, 6):
            scaled.step(number)
    for part in ("g", "d", "g_ema", "g_optimizer", "d_optimizer"):
        pairs = zip(
            getattr(straight.state, part).variables,
            getattr(resumed.state, part).variables,
            strict=True,
        )
        for a, b in pairs:
            assert np.array_equal(a.numpy(), b.numpy()), a.path


# The switches.


@pytest.mark.slow
def test_xla_compiles_every_step(monkeypatch):
    """With the same noise: XLA draws other normal numbers of the same seed."""

    def waves(key, shape, dtype=tf.float32):
        values = np.random.RandomState(0).randn(np.prod(shape))
        return tf.reshape(tf.constant(values, dtype), shape)

    monkeypatch.setattr("tfstylegan.rng.normal", waves)
    monkeypatch.setattr(
        "tfstylegan.rng.uniform", lambda key, shape, **_: tf.fill(shape, 0.4)
    )
    plain = gradients(config_of("float32"))
    compiled = gradients(config_of("float32", xla=True))
    for name in PHASES:
        scale = np.linalg.norm(plain[name])
        assert np.linalg.norm(compiled[name] - plain[name]) < 1e-3 * scale, name


def test_xla_needs_one_device(monkeypatch):
    config = config_of("float32", xla=True)
    gpus = [tf.config.LogicalDevice(f"/device:GPU:{i}", "GPU") for i in range(2)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    with pytest.raises(ValueError, match="precision.xla must be False on 2 devices"):
        devices.strategy(config)


def test_tf32_is_what_the_configuration_says():
    allowed = tf.config.experimental.tensor_float_32_execution_enabled
    try:
        for tf32 in (False, True):
            options = config_of("float32", tf32=tf32).precision
            precision.prepare(options)
            assert allowed() == tf32
            assert ("TF32 off" in precision.describe(options)) != tf32
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)
    mixed = precision.describe(config_of("float16", num_fp16_res=3, xla=True).precision)
    assert "float16 at 3 resolutions" in mixed and mixed.endswith(", XLA")
