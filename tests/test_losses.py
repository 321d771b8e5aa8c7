"""Losses, regularisers and their gradients."""

import numpy as np
import published
import pytest
import tensorflow as tf
import test_networks_golden as networks_golden

from tfstylegan import losses

RUN = "u32_skip_resnet"
GAMMA, PL_WEIGHT, PL_DECAY = 10.0, 2.0, 0.01
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def run(golden):
    """Stored arrays of the run, and its two networks with their weights."""
    arrays = golden("losses")
    stored = {k[len(RUN) + 1 :]: v for k, v in arrays.items() if k != "meta"}
    weights = golden("networks_stylegan2")
    cfgs = weights["meta"]["cfgs"]
    g, _ = networks_golden.networks_of(cfgs["u32_skip"], "skip", "skip")
    published.TorchWeights(weights, "u32_skip/weights/G/").generator(g)
    _, d = networks_golden.networks_of(cfgs["u32_resnet"], "resnet", "resnet")
    published.TorchWeights(weights, "u32_resnet/weights/D/").discriminator(d)
    return stored, cfgs, g, d


def synthesize(g):
    return lambda ws: g.synthesis(ws, noise_mode="const")


def main_phase(name, stored, g, d):
    fake = synthesize(g)(g.mapping(stored["z"]))
    if name == "Gmain":
        return losses.generator_nonsaturating(d(fake))
    real = networks_golden.nhwc(stored["real"])
    return losses.discriminator_logistic(d(real), d(tf.stop_gradient(fake)))


def reg_phase(name, stored, g, d):
    if name == "Dreg":
        real = tf.constant(networks_golden.nhwc(stored["real"]))
        return losses.r1_penalty(d, real)[0] * (GAMMA / 2)
    direction = networks_golden.nhwc(stored["pl_noise_raw"])
    ws = g.mapping(stored["z"][: len(direction)])
    lengths = losses.path_lengths(synthesize(g), ws, direction)
    penalty, _ = losses.path_length_penalty(lengths, stored["pl_mean0"], PL_DECAY)
    return penalty * PL_WEIGHT


def expected_gradients(stored, phase, network, cfgs):
    """Stored gradients as the weights of a network, in our names and layouts."""
    prefix = f"{phase}/grad/"
    grads = {k[len(prefix) :]: v for k, v in stored.items() if k.startswith(prefix)}
    if phase[0] == "D":
        _, carrier = networks_golden.networks_of(cfgs["u32_resnet"], "skip", "resnet")
        published.TorchWeights(grads, "").discriminator(carrier)
        return carrier
    carrier, _ = networks_golden.networks_of(cfgs["u32_skip"], "skip", "skip")
    grads["mapping.w_avg"] = np.zeros(64, np.float32)
    for i in (4, 8, 16, 32):
        for conv in ("conv0", "conv1"):
            grads[f"synthesis.b{i}.{conv}.noise_const"] = np.zeros([i, i], np.float32)
    for name, shape in cfgs["u32_skip"]["G_shapes"].items():
        # Without gradient: to_rgb's bias in path length, for one.
        grads.setdefault(name, np.zeros(shape, np.float32))
    published.TorchWeights(grads, "").generator(carrier)
    return carrier


@pytest.mark.parametrize("phase", ["Gmain", "Greg", "Dmain", "Dreg"])
def test_golden_losses_and_gradients(run, phase):
    stored, cfgs, g, d = run
    network = g if phase[0] == "G" else d
    compute = main_phase if phase.endswith("main") else reg_phase
    with tf.GradientTape() as tape:
        loss = compute(phase, stored, g, d)
        total = tf.reduce_mean(loss)
    field = f"{phase}/Loss/{phase[0]}/{'loss' if phase.endswith('main') else 'reg'}"
    expected = stored[field].reshape(-1)
    assert networks_golden.relative(loss.numpy(), expected) < TOLERANCE
    variables = network.trainable_variables
    gradients = tape.gradient(
        total,
        [variable.value for variable in variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    carrier = expected_gradients(stored, phase, network, cfgs)
    largest = max(np.max(np.abs(v.numpy())) for v in carrier.trainable_variables)
    assert largest > 0
    for variable, gradient, wanted in zip(
        variables, gradients, carrier.trainable_variables, strict=True
    ):
        scale = max(np.max(np.abs(wanted.numpy())), floor[not wanted.shape])
        error = np.max(np.abs(gradient.numpy() - wanted.numpy())) / scale
        assert error < TOLERANCE, (variable.path, error)


def test_golden_path_length_intermediates(run):
    stored, _, g, _ = run
    direction = networks_golden.nhwc(stored["pl_noise_raw"])
    ws = g.mapping(stored["z"][: len(direction)])
    lengths = losses.path_lengths(synthesize(g), ws, direction)
    assert networks_golden.relative(lengths.numpy(), stored["pl_lengths"]) < TOLERANCE
    _, pl_mean = losses.path_length_penalty(lengths, stored["pl_mean0"], PL_DECAY)
    assert np.isclose(pl_mean, stored["Greg/pl_mean_after"], rtol=TOLERANCE)


def test_golden_r1_logits(run):
    stored, _, _, d = run
    real = tf.constant(networks_golden.nhwc(stored["real"]))
    penalty, logits = losses.r1_penalty(d, real)
    expected = stored["Dreg/Loss/r1_penalty"]
    assert networks_golden.relative(logits.numpy(), stored["real_logits"]) < TOLERANCE
    assert networks_golden.relative(penalty.numpy(), expected) < TOLERANCE


def test_oracle_r1_of_a_linear_discriminator_is_its_squared_weight():
    weight = tf.constant(np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2))
    images = tf.ones([5, 2, 3, 2])
    penalty, _ = losses.r1_penalty(
        lambda x: tf.reduce_sum(x * weight, axis=(1, 2, 3))[:, tf.newaxis], images
    )
    np.testing.assert_allclose(penalty, np.full(5, np.sum(np.arange(12) ** 2.0)))


def test_oracle_logistic_losses():
    logits = tf.constant([[-3.0], [0.5], [40.0]])
    expected = np.log1p(np.exp(-logits.numpy()[:, 0]))
    np.testing.assert_allclose(
        losses.generator_nonsaturating(logits), expected, rtol=1e-5
    )
    both = losses.discriminator_logistic(logits, -logits)
    np.testing.assert_allclose(both, 2 * expected, rtol=1e-5)
