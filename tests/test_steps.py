"""Training steps: replicas, replica rows, what each step changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import config as config_lib
from tfstylegan import rng
from tfstylegan.data import pipeline
from tfstylegan.training import replicas
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib

BATCH = 8


def tiny_config(**train):
    config = config_lib.Config(seed=3)
    config.data.resolution, config.data.channels = 16, 2
    for network in (config.generator, config.discriminator):
        network.fmap_base, network.fmap_max = 64, 12
    config.generator.z_dim = config.generator.w_dim = 10
    config.generator.mapping_layers = 2
    config.train.batch_size = BATCH
    return config.validate()


class Rig:
    """State and steps on the given devices, with plain gradient descent.

    At learning rate 1 a step moves each weight by minus its gradient.
    """

    def __init__(self, devices, label_dim=0, config=None):
        self.config = config or tiny_config()
        # Collectives would mix up the strategies of one process.
        self.strategy = tf.distribute.MirroredStrategy(
            devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
        )
        with self.strategy.scope():
            self.state = state_lib.create(self.config, label_dim)
            for name in ("g", "d"):
                optimizer = keras.optimizers.SGD(1.0)
                optimizer.build(getattr(self.state, name).trainable_variables)
                setattr(self.state, f"{name}_optimizer", optimizer)
        # Noise of strength 0 would leave its own gradient and no other untested.
        for conv in (*self.state.g.synthesis.convs, *self.state.g.synthesis.up_convs):
            strength = conv.noise.strength
            strength.assign(np.full(strength.shape, 0.3))
        self.steps = steps_lib.Steps(self.state, self.config, self.strategy)
        count = self.strategy.num_replicas_in_sync
        rows = np.random.default_rng(0)
        size = (BATCH, *self.config.data.image_size, self.config.data.channels)
        batch = {
            "image": rows.integers(256, size=size).astype(np.uint8),
            "label": np.eye(max(label_dim, 1), dtype=np.float32)[
                rows.integers(max(label_dim, 1), size=BATCH)
            ],
        }
        batch = {k: v[replicas.order(BATCH, count)] for k, v in batch.items()}
        stream = tf.data.Dataset.from_tensors(batch).unbatch().batch(BATCH)
        self.batch = next(iter(self.strategy.experimental_distribute_dataset(stream)))

    def gradients(self, name):
        """Scalars of one step, and by how much it moved every weight."""
        images, labels = self.batch["image"], self.batch["label"]
        network = self.state.g if name.startswith("g") else self.state.d
        step = tf.constant(5, tf.int64)
        args = {
            "g_main": (labels, step),
            "g_reg": (labels, step),
            "d_main": (images, labels, step),
            "d_reg": (images, labels),
        }[name]
        before = [v.numpy() for v in network.trainable_variables]
        scalars = getattr(self.steps, name)(*args)
        after = [v.numpy() for v in network.trainable_variables]
        moved = [b - a for b, a in zip(before, after, strict=True)]
        return {k: v.numpy() for k, v in scalars.items()}, moved


@pytest.mark.parametrize("label_dim", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_equivalence_two_replicas_of_half_the_batch(label_dim):
    one, two = Rig(["CPU:0"], label_dim), Rig(["CPU:0", "CPU:1"], label_dim)
    for name in ("g_main", "g_reg", "d_main", "d_reg"):
        scalars_one, moved_one = one.gradients(name)
        scalars_two, moved_two = two.gradients(name)
        assert scalars_one.keys() == scalars_two.keys()
        for key, value in scalars_one.items():
            # Replicas hold every other sample, so vectors come in another order.
            a, b = np.sort(value, axis=None), np.sort(scalars_two[key], axis=None)
            atol = 1e-5 * np.max(np.abs(a))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol, err_msg=key)
        largest = max(np.max(np.abs(m)) for m in moved_one)
        assert largest > 1e-4
        for a, b in zip(moved_one, moved_two, strict=True):
            scale = max(np.max(np.abs(a)), 1e-2 * largest)
            assert np.max(np.abs(a - b)) < 1e-3 * scale, name
    state_one, state_two = one.state, two.state
    np.testing.assert_allclose(
        state_one.g.w_avg.numpy(), state_two.g.w_avg.numpy(), rtol=1e-4, atol=1e-6
    )
    assert state_one.pl_mean.numpy() > 0
    np.testing.assert_allclose(
        state_one.pl_mean.numpy(), state_two.pl_mean.numpy(), rtol=1e-4
    )


def test_steps_change_their_own_network_only():
    rig = Rig(["CPU:0"])
    for name in ("g_main", "g_reg", "d_main", "d_reg"):
        other = rig.state.d if name.startswith("g") else rig.state.g
        before = [v.numpy() for v in other.trainable_variables]
        _, moved = rig.gradients(name)
        assert any(np.any(m) for m in moved)
        for old, variable in zip(before, other.trainable_variables, strict=True):
            assert np.array_equal(old, variable.numpy()), (name, variable.path)


@pytest.mark.slow
def test_spectral_norms_move_in_the_steps_that_train_their_network():
    config = tiny_config()
    for network in (config.generator, config.discriminator):
        network.architecture, network.spectral_norm = "growing", True
    config.generator.block = "adain"
    config.generator.resample_kernel = (1, 2, 1)
    rig = Rig(["CPU:0", "CPU:1"], config=config.validate())

    def vectors(network):
        """Values on the first replica; all replicas must have the same ones."""
        found = [v for v in network.weights if v.name == "vector_u"]
        assert len(found) > 4
        local = [rig.strategy.experimental_local_results(v.value) for v in found]
        for first, second in local:
            assert np.array_equal(first.numpy(), second.numpy())
        return [first.numpy() for first, _ in local]

    g, d = rig.state.g, rig.state.d
    for name in ("g_main", "g_reg", "d_main", "d_reg"):
        before = {network: vectors(network) for network in (g, d)}
        scalars, _ = rig.gradients(name)
        assert all(np.isfinite(value).all() for value in scalars.values()), name
        for network, old in before.items():
            pairs = zip(old, vectors(network), strict=True)
            moved = [not np.array_equal(a, b) for a, b in pairs]
            assert any(moved) == (network.name[0] == name[0]), name


def test_training_is_nothing_to_networks_without_spectral_norm():
    rig = Rig(["CPU:0"])
    g, d = rig.state.g, rig.state.d
    before = [v.numpy() for v in (*g.variables, *d.variables)]
    ws = g.mapping(np.random.normal(size=(4, 10)).astype(np.float32))
    noise = g.synthesis.fixed_noise
    images = g.synthesis(ws, noise=noise)
    trained = g.synthesis(ws, noise=noise, training=True)
    assert np.array_equal(images, trained)
    assert np.array_equal(d(images), d(images, training=True))
    for old, variable in zip(before, (*g.variables, *d.variables), strict=True):
        assert np.array_equal(old, variable.numpy()), variable.path


def test_steps_are_functions_of_their_step_number():
    first, second = Rig(["CPU:0"]), Rig(["CPU:0"])
    _, a = first.gradients("g_main")
    _, b = second.gradients("g_main")
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_ema_averages_weights_and_copies_the_rest():
    rig = Rig(["CPU:0", "CPU:1"])
    g, g_ema = rig.state.g, rig.state.g_ema
    rig.gradients("g_main")
    before = [v.numpy() for v in g_ema.trainable_variables]
    rig.steps.ema(tf.constant(0.75))
    pairs = zip(g_ema.trainable_variables, before, g.trainable_variables, strict=True)
    for average, old, current in pairs:
        expected = 0.75 * old + 0.25 * current.numpy()
        np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert np.any(g.w_avg.numpy())
    pairs = zip(g_ema.non_trainable_variables, g.non_trainable_variables, strict=True)
    for average, current in pairs:
        assert np.array_equal(average.numpy(), current.numpy())


def test_r1_step_is_the_penalty_times_interval_and_half_gamma():
    rig = Rig(["CPU:0"])
    loss = rig.config.loss
    images = pipeline.to_float(rig.batch["image"])
    d = rig.state.d
    variables = [v.value for v in d.trainable_variables]
    with tf.GradientTape() as outer:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = tf.reduce_sum(d(images))
        gradient = tape.gradient(logits, images)
        penalty = tf.reduce_sum(gradient**2) / BATCH
    expected = outer.gradient(penalty, variables)
    scalars, moved = rig.gradients("d_reg")
    assert np.isclose(scalars["reg/r1"], penalty.numpy(), rtol=1e-4)
    factor = loss.r1_gamma / 2 * loss.r1_interval
    for wanted, actual in zip(expected, moved, strict=True):
        if wanted is not None:
            scale = np.max(np.abs(wanted)) + 1e-12
            assert np.max(np.abs(actual / factor - wanted)) < 1e-3 * scale + 1e-7


def test_path_length_step_is_the_penalty_times_interval_and_weight():
    rig = Rig(["CPU:0"])
    rig.config.generator.style_mixing_prob = 0.0
    g, loss, step = rig.state.g, rig.config.loss, tf.constant(5, tf.int64)
    count = BATCH // loss.pl_batch_shrink

    def stream(name):
        return rng.seed(rig.config.seed, f"g_reg/{name}", step)

    z = rng.normal(stream("z"), [count, 10])
    noise = g.synthesis.draw_noise(count, stream("noise"))
    direction = rng.normal(stream("direction"), [count, 16, 16, 2]) / 16
    variables = [v.value for v in g.trainable_variables]
    with tf.GradientTape() as outer:
        ws = g.mapping(z)
        with tf.GradientTape() as tape:
            tape.watch(ws)
            along = tf.reduce_sum(g.synthesis(ws, noise=noise) * direction)
        gradient = tape.gradient(along, ws)  # [n, L, D]
        power = tf.reduce_sum(gradient**2, axis=2)
        lengths = tf.sqrt(tf.reduce_mean(power, axis=1))
        mean = 0.01 * tf.reduce_mean(lengths)  # from 0
        penalty = tf.reduce_mean((lengths - mean) ** 2)
    expected = outer.gradient(penalty, variables)
    scalars, moved = rig.gradients("g_reg")
    assert np.isclose(scalars["reg/path_length_penalty"], penalty.numpy(), rtol=1e-4)
    assert np.isclose(rig.state.pl_mean.numpy(), mean.numpy(), rtol=1e-4)
    checked = 0
    for wanted, actual in zip(expected, moved, strict=True):
        if wanted is not None:
            scale = np.max(np.abs(wanted))
            error = np.max(np.abs(actual / (2.0 * 4) - wanted))
            assert error < 2e-3 * scale + 1e-7
            checked += scale > 1e-6
    assert checked > 10


def test_mixing_cutoff_is_uniform_below_the_last_layer():
    rig = Rig(["CPU:0"])
    layers = rig.state.g.mapping.num_ws
    cutoffs = [
        int(rig.steps.draws.mixing_cutoff("test", tf.constant(i, tf.int64), 0.75))
        for i in range(2000)
    ]
    counts = np.bincount(cutoffs, minlength=layers + 1)
    assert len(counts) == layers + 1
    assert counts[0] == 0
    mixed = counts[1:layers]
    assert abs(mixed.sum() - 1500) < 100  # 5 standard deviations
    assert np.all(np.abs(mixed - mixed.mean()) < 5 * np.sqrt(mixed.mean()))


def test_checkpoint_restores_every_variable(tmp_path):
    rig = Rig(["CPU:0"])
    config = rig.config
    saved, restored = state_lib.create(config, 0), state_lib.create(config, 0)
    parts = ("g", "d", "g_ema", "g_optimizer", "d_optimizer")
    random = np.random.default_rng(0)

    def variables(state):
        owned = [v.value for part in parts for v in getattr(state, part).variables]
        return [*owned, state.pl_mean, state.step, state.cur_nimg]

    for variable in variables(saved):
        values = random.uniform(1, 100, size=variable.shape)
        variable.assign(tf.cast(values, variable.dtype))
    path = saved.checkpoint().write(str(tmp_path / "ckpt"))
    restored.checkpoint().read(path).assert_consumed()
    pairs = list(zip(variables(saved), variables(restored), strict=True))
    assert len(pairs) > 200
    for a, b in pairs:
        assert np.array_equal(a.numpy(), b.numpy()), a.name


def test_replica_order_makes_shares_strided():
    assert replicas.order(8, 2).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert replicas.order(8, 1).tolist() == list(range(8))
    assert replicas.order(8, 4, 2, 2).tolist() == [2, 6, 3, 7]
