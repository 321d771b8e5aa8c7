"""Losses, regularisers and their gradients."""

import keras
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
    return networks_with_weights(golden)


@pytest.fixture(scope="module")
def run_in_float64(golden):
    """The same, networks and arrays in float64."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        stored, *rest = networks_with_weights(golden)
    finally:
        keras.config.set_dtype_policy(policy)
    return {k: v.astype(np.float64) for k, v in stored.items()}, *rest


def networks_with_weights(golden):
    arrays = golden("losses")
    stored = {k[len(RUN) + 1 :]: v for k, v in arrays.items() if k != "meta"}
    weights = golden("networks_stylegan2")
    cfgs = weights["meta"]["cfgs"]
    g, _ = networks_golden.networks_of(cfgs["u32_skip"], "skip", "skip")
    published.assign(g, weights, "u32_skip/weights/G/")
    _, d = networks_golden.networks_of(cfgs["u32_resnet"], "resnet", "resnet")
    published.assign(d, weights, "u32_resnet/weights/D/")
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
        published.assign(carrier, grads, "")
        return carrier
    carrier, _ = networks_golden.networks_of(cfgs["u32_skip"], "skip", "skip")
    grads["mapping.w_avg"] = np.zeros(64, np.float32)
    for i in (4, 8, 16, 32):
        for conv in ("conv0", "conv1")[i == 4 :]:
            grads[f"synthesis.b{i}.{conv}.noise_const"] = np.zeros([i, i], np.float32)
    for name, shape in cfgs["u32_skip"]["G_shapes"].items():
        # Without gradient: to_rgb's bias in path length, for one.
        grads.setdefault(name, np.zeros(shape, np.float32))
    published.assign(carrier, grads, "")
    return carrier


def phase_loss(phase, run):
    stored, _, g, d = run
    compute = main_phase if phase.endswith("main") else reg_phase
    return compute(phase, stored, g, d)  # [N]


@pytest.mark.parametrize("phase", ["Gmain", "Greg", "Dmain", "Dreg"])
def test_golden_losses(run, phase):
    loss = phase_loss(phase, run).numpy()
    field = f"{phase}/Loss/{phase[0]}/{'loss' if phase.endswith('main') else 'reg'}"
    expected = run[0][field].reshape(-1)
    assert loss.shape == expected.shape
    assert networks_golden.relative(loss, expected) < TOLERANCE


def gradients_and_golden(phase, run):
    """(path, gradient, stored gradient) of every weight of the phase's network."""
    stored, cfgs, g, d = run
    network = g if phase[0] == "G" else d
    with tf.GradientTape() as tape:
        total = tf.reduce_mean(phase_loss(phase, run))
    variables = network.trainable_variables
    gradients = tape.gradient(
        total,
        [variable.value for variable in variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    carrier = expected_gradients(stored, phase, network, cfgs)
    return [
        (variable.path, gradient.numpy(), wanted.numpy())
        for variable, gradient, wanted in zip(
            variables, gradients, carrier.trainable_variables, strict=True
        )
    ]


@pytest.mark.parametrize("phase", ["Gmain", "Greg", "Dmain", "Dreg"])
def test_golden_gradients_of_every_weight(run_in_float64, phase):
    """In float64, where rounding takes no activation over a leaky ReLU's kink."""
    triples = gradients_and_golden(phase, run_in_float64)
    expected = [wanted for _, _, wanted in triples]
    # A scalar has no other entries to be small against: the largest scalar serves.
    scalars = [abs(wanted) for wanted in expected if wanted.ndim == 0]
    largest_scalar = max(scalars, default=0.0)
    assert max(np.max(np.abs(wanted)) for wanted in expected) > 0
    for path, gradient, wanted in triples:
        scale = np.max(np.abs(wanted)) if wanted.ndim else largest_scalar
        error = np.max(np.abs(gradient - wanted))
        error = error / scale if scale else error
        assert error < TOLERANCE, (path, error)


@pytest.mark.parametrize("phase", ["Gmain", "Greg", "Dmain", "Dreg"])
def test_golden_gradient_as_a_whole(run, phase):
    """In float32, less sharply: one activation of 131072 lies 4e-7 from a kink, and
    which way it rounds moves the gradient of the path length by 5e-4.
    """
    triples = gradients_and_golden(phase, run)
    distance = sum(np.sum(np.square(ours - wanted)) for _, ours, wanted in triples)
    length = sum(np.sum(np.square(wanted)) for _, _, wanted in triples)
    assert np.sqrt(distance / length) < 10 * TOLERANCE


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


@pytest.mark.parametrize("degree", [1, 2])
def test_oracle_path_lengths_of_an_analytic_network(degree):
    """G(ws)[h, w, c] = sum_ld A[l, d, h, w, c] ws[l, d]^degree: g is known."""
    matrix = np.random.normal(size=(3, 4, 2, 5, 2))  # [L, D, H, W, C]
    ws = np.random.normal(size=(6, 3, 4))  # [N, L, D]
    direction = np.random.normal(size=(6, 2, 5, 2))
    lengths = losses.path_lengths(
        lambda ws: tf.einsum("nld,ldhwc->nhwc", ws**degree, matrix),
        tf.constant(ws),
        direction,
    )
    slope = np.einsum("ldhwc,nhwc->nld", matrix, direction / np.sqrt(2 * 5))
    slope *= degree * ws ** (degree - 1)
    expected = [np.sqrt(sum(np.sum(g[i] ** 2) for i in range(3)) / 3) for g in slope]
    np.testing.assert_allclose(lengths, expected)


def test_gradient_of_r1_and_path_length_against_differences():
    """Their gradients are second derivatives: checked by central differences."""
    kernel = np.random.normal(size=(3, 3, 2, 4))
    images = tf.constant(np.random.normal(size=(2, 4, 4, 2)))
    ws = tf.constant(np.random.normal(size=(2, 3, 32)))
    direction = np.random.normal(size=(2, 4, 4, 4))

    def r1(kernel):
        def discriminate(x):
            y = tf.nn.softplus(tf.nn.conv2d(x, kernel, 1, "SAME"))
            return tf.reduce_sum(y**2, axis=(1, 2, 3))[:, tf.newaxis]

        return tf.reduce_sum(losses.r1_penalty(discriminate, images)[0])

    def path_length(kernel):
        def synthesize(ws):
            x = tf.reshape(tf.reduce_sum(ws, axis=1), [-1, 4, 4, 2])
            return tf.tanh(tf.nn.conv2d(x, kernel, 1, "SAME"))

        lengths = losses.path_lengths(synthesize, ws, direction)
        return tf.reduce_sum(losses.path_length_penalty(lengths, 0.3, 0.01)[0])

    for penalty in (r1, path_length):
        analytic, numeric = tf.test.compute_gradient(penalty, [kernel], delta=1e-5)
        np.testing.assert_allclose(analytic[0], numeric[0], rtol=1e-5, atol=1e-6)
        assert np.max(np.abs(analytic[0])) > 1e-2


def test_path_length_mean_moves_by_its_decay():
    lengths = tf.constant([1.0, 2.0, 6.0])
    penalty, mean = losses.path_length_penalty(lengths, tf.constant(1.0), 0.25)
    np.testing.assert_allclose(mean, 1.5)
    np.testing.assert_allclose(penalty, [0.25, 0.25, 20.25])


def test_path_length_slopes_are_the_gradient_of_the_penalty():
    lengths = tf.constant([1.0, 2.0, 6.0, 0.5], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(lengths)
        penalty, pl_mean = losses.path_length_penalty(lengths, 1.5, 0.25)
        total = tf.reduce_sum(penalty)
    slopes = losses.path_length_slopes(lengths, tf.reduce_mean(lengths), pl_mean, 0.25)
    np.testing.assert_allclose(slopes, tape.gradient(total, lengths), rtol=1e-12)


def test_oracle_logistic_losses():
    logits = tf.constant([[-3.0], [0.5], [40.0]])
    expected = np.log1p(np.exp(-logits.numpy()[:, 0]))
    np.testing.assert_allclose(
        losses.generator_nonsaturating(logits), expected, rtol=1e-5
    )
    both = losses.discriminator_logistic(logits, -logits)
    np.testing.assert_allclose(both, 2 * expected, rtol=1e-5)


def test_oracle_other_adversarial_losses():
    real, fake = np.random.normal(size=(2, 50, 1)) * 3
    sigmoid = 1 / (1 + np.exp(-fake[:, 0]))
    minimax = losses.generator_saturating(fake)
    np.testing.assert_allclose(minimax, np.log(1 - sigmoid))
    np.testing.assert_allclose(losses.generator_wasserstein(fake), -fake[:, 0])
    wasserstein = losses.discriminator_wasserstein(real, fake)
    np.testing.assert_allclose(wasserstein, fake[:, 0] - real[:, 0])
    hinge = losses.discriminator_hinge(real, fake)
    pairs = zip(real[:, 0], fake[:, 0], strict=True)
    expected = [max(0, 1 + f) + max(0, 1 - r) for r, f in pairs]
    np.testing.assert_allclose(hinge, expected)
    np.testing.assert_allclose(losses.drift_penalty(real), real[:, 0] ** 2)


def test_gradients_of_the_minimax_losses_differ_as_published():
    """Saturating: -sigmoid(f). Non-saturating: -sigmoid(-f), strong where D is sure."""
    logits = tf.constant(np.linspace(-6, 6, 7)[:, np.newaxis])
    sigmoid = 1 / (1 + np.exp(-logits.numpy()))
    for loss, expected in (
        (losses.generator_saturating, -sigmoid),
        (losses.generator_nonsaturating, sigmoid - 1),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(loss(logits))
        np.testing.assert_allclose(tape.gradient(total, logits), expected)


def bowl(weight):
    """D(x) = sum(weight x^2) / 2, of which the gradient is weight x."""
    return lambda x: tf.reduce_sum(weight * x**2, axis=(1, 2, 3))[:, tf.newaxis] / 2


@pytest.mark.parametrize("target", [1.0, 7.5])
def test_oracle_gradient_penalty(target):
    weight = np.random.normal(size=(3, 4, 2))
    real, fake = np.random.normal(size=(2, 6, 3, 4, 2))
    factors = np.random.uniform(size=(6, 1, 1, 1))
    penalty = losses.gradient_penalty(
        bowl(weight), tf.constant(real), tf.constant(fake), factors, target
    )
    expected = []
    for n in range(6):
        t = factors[n, 0, 0, 0]
        norm = np.linalg.norm(np.ravel(weight * ((1 - t) * real[n] + t * fake[n])))
        expected.append((norm - target) ** 2 / target**2)
    np.testing.assert_allclose(penalty, expected)


def test_oracle_r2_is_the_same_penalty_at_generated_images():
    weight = np.random.normal(size=(3, 4, 2))
    fake = np.random.normal(size=(6, 3, 4, 2))
    penalty, logits = losses.r1_penalty(bowl(weight), tf.constant(fake))
    np.testing.assert_allclose(penalty, np.sum((weight * fake) ** 2, axis=(1, 2, 3)))
    values = np.sum(weight * fake**2, axis=(1, 2, 3)) / 2
    np.testing.assert_allclose(logits[:, 0], values)


def test_gradient_of_gradient_penalty_against_differences():
    real, fake = (tf.constant(x) for x in np.random.normal(size=(2, 2, 4, 4, 2)))
    factors = np.random.uniform(size=(2, 1, 1, 1))
    kernel = np.random.normal(size=(3, 3, 2, 4))

    def penalty(kernel):
        def discriminate(x):
            y = tf.nn.softplus(tf.nn.conv2d(x, kernel, 1, "SAME"))
            return tf.reduce_sum(y, axis=(1, 2, 3))[:, tf.newaxis]

        return tf.reduce_sum(
            losses.gradient_penalty(discriminate, real, fake, factors, 3.0)
        )

    analytic, numeric = tf.test.compute_gradient(penalty, [kernel], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(analytic[0])) > 1e-2


def test_gradient_penalty_of_a_flat_discriminator_is_finite():
    weight = tf.Variable(tf.zeros([2, 2, 1]))
    images = tf.ones([3, 2, 2, 1])
    with tf.GradientTape() as tape:
        penalty = losses.gradient_penalty(bowl(weight), images, images, 0.5)
    np.testing.assert_allclose(penalty, np.ones(3))
    assert np.all(np.isfinite(tape.gradient(penalty, weight)))
