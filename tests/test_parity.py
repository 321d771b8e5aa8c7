"""Normalisation and moving averages against tensorflow-addons (tests/parity/)."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan.layers import adain, equalized, normalization
from tfstylegan.training import ema, schedules

TOLERANCE = 1e-5


def load(part):
    """Arrays of one part of the committed numbers, by name."""
    path = pathlib.Path(__file__).parent / "parity" / "numbers.npz"
    with np.load(path) as archive:
        keys = [key for key in archive.files if key.startswith(f"{part}/")]
        return {key.removeprefix(f"{part}/"): archive[key] for key in keys}


def assert_equal(actual, expected, name):
    np.testing.assert_allclose(
        np.asarray(actual), expected, rtol=0, atol=TOLERANCE, err_msg=name
    )


def test_instance_norm_is_that_of_addons():
    given = load("instance_norm")
    x = tf.constant(given["x"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = normalization.InstanceNorm()(x)
    assert_equal(y, given["y"], "y")
    assert_equal(tape.gradient(y, x, given["dy"]), given["dx"], "dx")


def test_adain_is_instance_norm_of_addons_with_a_style():
    given = load("adain")
    x, w = tf.constant(given["x"]), tf.constant(given["w"])
    layer = adain.AdaIN()
    layer.build(x.shape, w.shape)
    kernel = given["kernel"] * np.sqrt(w.shape[-1])  # equalised learning rate
    layer.affine.kernel.assign(kernel)
    layer.affine.bias.assign(given["bias"])
    with tf.GradientTape() as tape:
        tape.watch((x, w))
        y = layer(x, w)
    dx, dw = tape.gradient(y, (x, w), given["dy"])
    for name, value in {"y": y, "dx": dx, "dw": dw}.items():
        assert_equal(value, given[name], name)


def keras_convolution():
    return keras.layers.Conv2D(6, 3, padding="same")


def equalized_convolution():
    # The stored kernel is normalised; with this gain it is the one in use too.
    return equalized.EqualizedConv2D(6, 3, kernel_gain=np.sqrt(3 * 3 * 3))


@pytest.mark.parametrize("power_iterations", [1, 3])
@pytest.mark.parametrize("convolution", [keras_convolution, equalized_convolution])
def test_spectral_normalization_of_keras_is_that_of_addons(
    convolution, power_iterations
):
    given = load(f"spectral_norm_{power_iterations}")
    inner = convolution()
    layer = keras.layers.SpectralNormalization(inner, power_iterations)
    layer.build(given["x"][0].shape)
    inner.kernel.assign(given["kernel"])
    inner.bias.assign(given["bias"])
    layer.vector_u.assign(given["u"])
    last = len(given["x"]) - 1
    for i, x in enumerate(given["x"]):
        inner.kernel.assign_add(given["moves"][i])
        y = layer(x, training=i < last)
        assert_equal(y, given["y"][i], f"y of call {i}")
        assert_equal(inner.kernel, given["kernels"][i], f"kernel of call {i}")
        assert_equal(layer.vector_u, given["us"][i], f"u of call {i}")


OPTIMIZERS = {
    "ema_sgd": lambda: keras.optimizers.SGD(0.3),
    "ema_adam": lambda: keras.optimizers.Adam(0.1, 0.0, 0.99, 1e-8),
}
# Half-lives: one at which a step of 4 images has the decay 0.9; half of the images
# seen, at most 10.
DECAYS = {
    "ema_sgd": {"halflife_kimg": 0.004 * np.log(0.5) / np.log(0.9)},
    "ema_adam": {"halflife_kimg": 0.01, "rampup": 0.5},
}


@pytest.mark.parametrize("part", OPTIMIZERS)
def test_ema_is_the_moving_average_of_addons(part):
    given, optimizer = load(part), OPTIMIZERS[part]()
    strategy = tf.distribute.get_strategy()
    network, average = keras.layers.Dense(3), keras.layers.Dense(3)
    for layer in (network, average):
        layer.build([None, 4])
        layer.set_weights([given["weights/0"], given["weights/1"]])
    for i, expected in enumerate(given["decays"]):
        gradients = [tf.constant(given[f"gradients/{k}"][i]) for k in range(2)]
        optimizer.apply(gradients, network.trainable_variables)
        decay = schedules.ema_decay(4 * (i + 1), batch_size=4, **DECAYS[part])
        assert_equal(decay, expected, f"decay of step {i}")
        ema.update(strategy, network, average, tf.constant(decay, tf.float32))
        for k in range(2):
            weight, mean = network.get_weights()[k], average.get_weights()[k]
            assert_equal(weight, given[f"after/{k}"][i], f"weight {k} of step {i}")
            assert_equal(mean, given[f"averages/{k}"][i], f"average {k} of step {i}")
