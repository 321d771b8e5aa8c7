"""Layers against slow NumPy oracles and published numbers."""

import inspect

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from conftest import load_golden

from tfstylegan.layers import (
    adain,
    equalized,
    minibatch_stddev,
    modulated_conv,
    noise,
    normalization,
)
from tfstylegan.ops import resample

TOLERANCE = 1e-4
NAN = float("nan")


def relative(actual, expected):
    """Largest difference over the largest expected magnitude."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def nhwc(array):
    return np.transpose(array, (0, 2, 3, 1))


def lrelu(x):
    return np.where(x < 0, 0.2 * x, x) * np.sqrt(2)


# Oracles: sums written out, float64.


def correlate(x, kernel):
    """SAME correlation of one image [H, W, C] with [K, K, C, F], K odd."""
    height, width, _ = x.shape
    size = kernel.shape[0]
    edge = size // 2
    padded = np.pad(x, [(edge, edge), (edge, edge), (0, 0)])
    y = np.zeros((height, width, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            patch = padded[i : i + size, j : j + size]  # [K, K, C]
            y[i, j] = np.einsum("abc,abcf->f", patch, kernel)
    return y


def smooth(x, taps, before, after):
    """Convolution of [H, W, C] with separable taps, after padding."""
    x = np.pad(x, [(before, after), (before, after), (0, 0)])
    taps = np.asarray(taps, np.float64)[::-1] / np.sum(taps)
    for axis in (0, 1):
        n = x.shape[axis] - len(taps) + 1
        x = sum(
            tap * np.take(x, np.arange(n) + k, axis=axis) for k, tap in enumerate(taps)
        )
    return x


def up_correlate(x, kernel, taps):
    """Zeros between the pixels of [H, W, C], correlation, FIR of gain 4; 4 taps."""
    height, width, channels = x.shape
    y = np.zeros((2 * height, 2 * width, channels))
    y[::2, ::2] = x
    edge = kernel.shape[0] // 2
    y = np.pad(y, [(2 + edge, 1 + edge), (2 + edge, 1 + edge), (0, 0)])
    y = correlate(y, kernel)[edge : y.shape[0] - edge, edge : y.shape[1] - edge]
    return 4 * smooth(y, taps, 0, 0)


def down_correlate(x, kernel, taps):
    """FIR of 4 taps, correlation, every second pixel of [H, W, C]."""
    edge = kernel.shape[0] // 2
    x = smooth(x, taps, 1 + edge + 1, 1 + edge + 1)
    y = correlate(x, kernel)
    # Sample i of the result sits where the smoothed image has index 2 i + 1 + edge.
    first = 1 + edge
    size = x.shape[0] - 2 * first, x.shape[1] - 2 * first
    return y[first : first + size[0] : 2, first : first + size[1] : 2]


def random_weights(layer):
    """Gives every weight of a layer other numbers than it starts with."""
    for variable in layer.weights:
        variable.assign(np.random.normal(size=variable.shape))


# Equalised layers.


@pytest.mark.parametrize("lr_mul", [1.0, 0.01])
@pytest.mark.parametrize("act", ["linear", "lrelu"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_oracle_equalized_dense(lr_mul, act, use_bias):
    x = np.random.normal(size=(5, 7)).astype(np.float32)
    layer = equalized.EqualizedDense(3, act=act, lr_mul=lr_mul, use_bias=use_bias)
    layer.build((None, 7))
    random_weights(layer)
    kernel = layer.kernel.numpy().astype(np.float64)
    expected = x @ kernel * lr_mul / np.sqrt(7)
    if use_bias:
        expected = expected + layer.bias.numpy() * lr_mul
    if act == "lrelu":
        expected = lrelu(expected)
    assert len(layer.weights) == 1 + use_bias
    assert relative(layer(x).numpy(), expected) < 1e-5


def test_equalized_dense_starts_with_unit_over_lr_mul_and_its_bias():
    layer = equalized.EqualizedDense(200, lr_mul=0.01, bias_init=1.5, seed=3)
    layer.build((None, 300))
    assert np.std(layer.kernel.numpy()) == pytest.approx(100, rel=0.02)
    assert abs(np.mean(layer.kernel.numpy())) < 2
    np.testing.assert_allclose(layer.bias.numpy(), 150, rtol=1e-6)
    y = layer(np.zeros((1, 300), np.float32))
    np.testing.assert_allclose(y, np.full((1, 200), 1.5), rtol=1e-6)
    # Equalised: outputs of unit variance whatever lr_mul.
    x = np.random.normal(size=(50, 300)).astype(np.float32)
    assert np.std(layer(x).numpy()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("resampling", [None, "up", "down"])
@pytest.mark.parametrize(
    "act, gain, use_bias",
    [
        *[("lrelu", None, True), ("lrelu", 1.0, True), ("lrelu", -0.5, False)],
        *[("linear", 0.7, False), ("linear", None, False), ("linear", 0.7, True)],
    ],
)
def test_oracle_equalized_conv(size, resampling, act, gain, use_bias):
    taps = (1, 3, 4, 2)  # asymmetric: catches a forgotten flip
    x = np.random.normal(size=(2, 6, 4, 3)).astype(np.float32)
    layer = equalized.EqualizedConv2D(
        5,
        size,
        resampling=resampling,
        resample_kernel=taps,
        act=act,
        gain=gain,
        use_bias=use_bias,
    )
    layer.build((None, 6, 4, 3))
    random_weights(layer)
    kernel = layer.kernel.numpy().astype(np.float64) / np.sqrt(size * size * 3)
    if resampling == "up":
        expected = [up_correlate(image, kernel, taps) for image in x]
    elif resampling == "down":
        expected = [down_correlate(image, kernel, taps) for image in x]
    else:
        expected = [correlate(image, kernel) for image in x]
    expected = np.stack(expected)
    if use_bias:
        expected = expected + layer.bias.numpy()
    if act == "lrelu":
        expected = lrelu(expected)
        if gain is not None:
            expected = expected * gain / np.sqrt(2)
    elif gain is not None:
        expected = expected * gain
    y = layer(x)
    assert y.shape == layer.compute_output_shape(x.shape)
    assert relative(y.numpy(), expected) < 1e-5


@pytest.mark.parametrize("act, gain", [("lrelu", 1.0), ("linear", 0.7)])
def test_oracle_gain_in_the_kernel_and_behind_the_activation(act, gain):
    """The kernel's gain is before the bias, the other one after the activation."""
    x = np.random.normal(size=(2, 3, 5, 4)).astype(np.float32)
    options = {"act": act, "gain": gain, "kernel_gain": 1.7}
    conv = equalized.EqualizedConv2D(3, 1, **options)
    dense = equalized.EqualizedDense(3, lr_mul=0.1, **options)
    for layer, inputs, lr_mul in ((conv, x, 1), (dense, x[:, 0, 0], 0.1)):
        layer.build(inputs.shape)
        random_weights(layer)
        kernel = layer.kernel.numpy().reshape(4, 3) * lr_mul / np.sqrt(4)
        expected = 1.7 * inputs @ kernel + layer.bias.numpy() * lr_mul
        if act == "lrelu":
            expected = oracles.lrelu(expected)
        assert relative(layer(inputs).numpy(), gain * expected) < 1e-5


@pytest.mark.parametrize("resampling", ["up", "down"])
@pytest.mark.parametrize("blur", [None, (1,), (1, 2, 1), (1, 4, 6, 4, 1)])
@pytest.mark.parametrize("size", [1, 3])
def test_oracle_blurred_convolution_of_stylegan(resampling, blur, size):
    """Nearest, convolution, blur; or blur, convolution, mean: borders included."""
    x = np.random.normal(size=(2, 4, 6, 3)).astype(np.float32)
    layer = equalized.EqualizedConv2D(
        5,
        size,
        resampling=resampling,
        resample_kernel=(1, 1),
        blur_kernel=blur,
        use_bias=False,
    )
    layer.build(x.shape)
    kernel = layer.kernel.numpy() / np.sqrt(size * size * 3)
    y, taps = x.astype(np.float64), blur or (1,)
    if resampling == "up":
        y = oracles.conv2d(oracles.repeat(y, 2), kernel, size // 2)
        y = oracles.blur(y, taps)
    else:
        y = oracles.conv2d(oracles.blur(y, taps), kernel, size // 2)
        y = oracles.box(y, 2)
    assert relative(layer(x).numpy(), y) < 1e-5


# Modulated convolution.


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_oracle_modulated_conv_has_one_kernel_a_sample(size, up, demodulate):
    taps = (1, 3, 4, 2)
    x = np.random.normal(size=(3, 4, 5, 6))
    kernel = np.random.normal(size=(size, size, 6, 4))
    style = np.random.normal(size=(3, 6))
    y = modulated_conv.modulated_conv2d(
        tf.constant(x),
        tf.constant(kernel),
        tf.constant(style),
        demodulate=demodulate,
        up=up,
        taps=resample.setup_filter(taps),
    )
    for n in range(3):
        own = kernel * style[n][:, np.newaxis]  # [K, K, C, F]
        if demodulate:
            for f in range(4):
                own[..., f] /= np.sqrt(np.sum(own[..., f] ** 2) + 1e-8)
        expected = up_correlate(x[n], own, taps) if up else correlate(x[n], own)
        assert relative(y[n].numpy(), expected) < 1e-6


@pytest.mark.parametrize("demodulate", [False, True])
def test_oracle_modulated_conv_layer(demodulate):
    x = np.random.normal(size=(2, 4, 4, 5)).astype(np.float32)
    w = np.random.normal(size=(2, 7)).astype(np.float32)
    layer = modulated_conv.ModulatedConv2D(3, demodulate=demodulate)
    layer.build((None, 4, 4, 5), (None, 7))
    np.testing.assert_array_equal(layer.affine.bias.numpy(), np.ones(5))
    random_weights(layer)
    style = w @ layer.affine.kernel.numpy() / np.sqrt(7) + layer.affine.bias.numpy()
    kernel = layer.kernel.numpy() / np.sqrt(9 * 5)
    for n in range(2):
        own = kernel * style[n][:, np.newaxis]
        if demodulate:
            own = own / np.sqrt(np.sum(own**2, axis=(0, 1, 2)) + 1e-8)
        assert relative(layer(x, w)[n].numpy(), correlate(x[n], own)) < 1e-5


def modulated_cases():
    """Stored cases that are a SAME convolution, plain or doubling the size."""
    meta = load_golden("conv_layers")["meta"]["cases"]
    return [case for case in meta if case["op"] == "modulated_conv2d"]


def test_golden_modulated_cases_are_all_there():
    assert len(modulated_cases()) == 24


@pytest.mark.parametrize("case", modulated_cases(), ids=lambda case: case["name"])
def test_golden_modulated_conv_and_two_derivatives(golden, case):
    arrays = golden("conv_layers")
    stored = {
        key.split("/")[1]: arrays[key].astype(np.float64)
        for key in arrays
        if key.startswith(f"{case['name']}/")
    }
    up = case["up"] == 2
    assert case["padding"] == stored["w"].shape[2] // 2
    assert case["flip_weight"] == (not up)

    def hwio(w):
        # Torch's up-convolution stores its kernel reversed in space.
        w = np.transpose(w, (2, 3, 1, 0))
        return w[::-1, ::-1] if up else w

    inputs = [nhwc(stored["x"]), hwio(stored["w"]), stored["s"]]
    inputs = [tf.constant(value) for value in inputs]
    directions = [nhwc(stored["vx"]), hwio(stored["vw"]), stored["vs"]]
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            y = modulated_conv.modulated_conv2d(
                *inputs,
                demodulate=case["demodulate"],
                up=up,
                taps=stored["f"].astype(np.float32),
            )
            if "noise" in stored:
                y += nhwc(stored["noise"].reshape(-1, 1, *stored["y"].shape[2:]))
            total = tf.reduce_sum(y * nhwc(stored["ct"]))
        first = inner.gradient(total, inputs)
        along = tf.add_n(
            [
                tf.reduce_sum(gradient * direction)
                for gradient, direction in zip(first, directions, strict=True)
            ]
        )
    second = outer.gradient(along, inputs)
    assert relative(y.numpy(), nhwc(stored["y"])) < TOLERANCE
    for got, names in ((first, ("dx", "dw", "ds")), (second, ("gg_x", "gg_w", "gg_s"))):
        expected = [nhwc(stored[names[0]]), hwio(stored[names[1]]), stored[names[2]]]
        for name, value, wanted in zip(names, got, expected, strict=True):
            assert relative(value.numpy(), wanted) < TOLERANCE, name


# Noise and normalisation.


def test_noise_is_one_strength_times_one_map_for_all_channels():
    layer = noise.NoiseInput(seed=5)
    x = np.random.normal(size=(4, 3, 5, 2)).astype(np.float32)
    layer.build(x.shape)
    assert layer.strength.shape == () and layer.strength.numpy() == 0
    assert layer.fixed.shape == (1, 3, 5, 1) and not layer.fixed.trainable
    assert 0.3 < np.std(layer.fixed.numpy()) < 2
    for maps in (np.random.normal(size=(4, 3, 5, 1)), layer.fixed.numpy()):
        np.testing.assert_array_equal(layer(x, maps.astype(np.float32)), x)
    layer.strength.assign(-0.25)
    for maps in (np.random.normal(size=(4, 3, 5, 1)), layer.fixed.numpy()):
        y = layer(x, maps.astype(np.float32))
        np.testing.assert_allclose(y, x - 0.25 * maps, rtol=1e-5, atol=1e-6)


def test_noise_per_channel_has_a_strength_for_each():
    layer = noise.NoiseInput(per_channel=True, seed=5)
    x = np.random.normal(size=(4, 3, 5, 2)).astype(np.float32)
    layer.build(x.shape)
    np.testing.assert_array_equal(layer.strength.numpy(), [0, 0])
    layer.strength.assign([-0.25, 2])
    maps = np.random.normal(size=(4, 3, 5, 1)).astype(np.float32)
    y = layer(x, maps).numpy()
    for channel, strength in enumerate([-0.25, 2]):
        expected = x[..., channel] + strength * maps[..., 0]
        np.testing.assert_allclose(y[..., channel], expected, rtol=1e-5, atol=1e-6)


def test_oracle_instance_norm():
    x = np.random.normal(size=(2, 3, 5, 4)) * [1, 100, 0.01, 1] + [0, 5, 10, -1]
    y = normalization.InstanceNorm()(x.astype(np.float32)).numpy()
    for n, c in np.ndindex(2, 4):
        values = x[n, ..., c].astype(np.float32).astype(np.float64)
        deviation = np.sqrt(np.mean((values - np.mean(values)) ** 2) + 1e-8)
        expected = (values - np.mean(values)) / deviation
        np.testing.assert_allclose(y[n, ..., c], expected, atol=1e-4)
    factor = normalization.inverse_deviation(tf.constant(x)).numpy()
    expected = 1 / np.sqrt(np.var(x, axis=(1, 2)) + 1e-8)
    np.testing.assert_allclose(factor, expected, rtol=1e-6)


@pytest.mark.parametrize("layer", [normalization.PixelNorm, normalization.InstanceNorm])
def test_half_precision_norms_neither_overflow_nor_divide_by_zero(layer):
    """Squares of 300 are beyond float16; 1e-8 is 0 there."""
    norm = layer(dtype="float16")
    assert not np.any(norm(np.zeros([1, 2, 2, 3], np.float16)))
    x = 300 * np.random.normal(size=(2, 4, 4, 3)).astype(np.float16)
    expected = layer()(x.astype(np.float32)).numpy()
    assert relative(norm(x).numpy().astype(np.float32), expected) < 2e-3


def test_oracle_adain():
    x = np.random.normal(size=(2, 3, 5, 4)).astype(np.float32)
    w = np.random.normal(size=(2, 7)).astype(np.float32)
    layer = adain.AdaIN(seed=1)
    layer.build(x.shape, w.shape)
    np.testing.assert_array_equal(layer.affine.bias.numpy(), np.zeros(8))
    random_weights(layer)
    style = w @ layer.affine.kernel.numpy() / np.sqrt(7) + layer.affine.bias.numpy()
    expected = np.zeros(x.shape)
    for n, c in np.ndindex(2, 4):
        values = x[n, ..., c].astype(np.float64)
        expected[n, ..., c] = (values - values.mean()) / np.sqrt(values.var() + 1e-8)
        expected[n, ..., c] *= 1 + style[n, c]
        expected[n, ..., c] += style[n, 4 + c]
    assert relative(layer(x, w).numpy(), expected) < 1e-5


@pytest.mark.parametrize("shape", [(4, 9), (2, 3, 5), (2, 3, 4, 6)])
def test_oracle_pixel_norm(shape):
    x = np.random.normal(size=shape).astype(np.float32)
    y = normalization.PixelNorm()(x).numpy()
    for index in np.ndindex(*shape[:-1]):
        expected = x[index] / np.sqrt(np.mean(x[index].astype(np.float64) ** 2) + 1e-8)
        np.testing.assert_allclose(y[index], expected, rtol=1e-5)


def test_pixel_norm_of_zeros_and_tiny_numbers():
    x = np.array([[0, 0], [1e-4, 1e-4]], np.float32)
    y = normalization.PixelNorm()(x).numpy()
    np.testing.assert_allclose(y, [[0, 0], [np.sqrt(0.5), np.sqrt(0.5)]], rtol=1e-4)


# Minibatch standard deviation.


def stddev_maps(x, group_size, features):
    """The appended maps [N, F]: one number a sample and feature, by definition."""
    count = len(x)
    group_size = min(group_size, count)
    stride = count // group_size
    per_feature = x.shape[-1] // features
    maps = np.zeros((count, features))
    for n in range(count):
        members = [m for m in range(count) if m % stride == n % stride]
        assert len(members) == group_size
        for f in range(features):
            part = x[members][..., f * per_feature : (f + 1) * per_feature]
            variance = np.mean((part - np.mean(part, axis=0)) ** 2, axis=0)
            maps[n, f] = np.mean(np.sqrt(variance + 1e-8))
    return maps


@pytest.mark.parametrize("batch, group", [(8, 4), (8, 2), (3, 4), (1, 4), (6, 1)])
@pytest.mark.parametrize("features", [1, 2, 6])
def test_oracle_minibatch_stddev(batch, group, features):
    x = np.random.normal(size=(batch, 3, 5, 6)).astype(np.float32)
    layer = minibatch_stddev.MinibatchStddev(group, features)
    y = layer(x).numpy()
    assert y.shape == (batch, 3, 5, 6 + features)
    np.testing.assert_array_equal(y[..., :6], x)
    expected = stddev_maps(x.astype(np.float64), group, features)
    expected = np.broadcast_to(expected[:, None, None], (batch, 3, 5, features))
    np.testing.assert_allclose(y[..., 6:], expected, rtol=1e-5)


def test_minibatch_stddev_keeps_float64():
    """Differences of 1e-6 on top of 1000 are below what float32 can hold."""
    x = 1000 + 1e-6 * np.random.normal(size=(4, 2, 2, 3))
    y = minibatch_stddev.MinibatchStddev(dtype="float64")(tf.constant(x)).numpy()
    np.testing.assert_allclose(y[:, 0, 0, 3:], stddev_maps(x, 4, 1), rtol=1e-6)


def test_oracle_minibatch_stddev_of_eight_scalars():
    """Groups are {0, 2, 4, 6} and {1, 3, 5, 7}; neighbours would give 1.118."""
    x = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
    y = minibatch_stddev.MinibatchStddev(4)(x).numpy()
    np.testing.assert_allclose(y[..., 1], np.full((8, 1, 1), 2.2360680), rtol=1e-6)


@pytest.mark.parametrize("name", ["mb0", "mb2", "mb4", "mb6"])
def test_golden_minibatch_stddev_and_two_derivatives(golden, name):
    arrays = golden("conv_layers")
    (case,) = [c for c in arrays["meta"]["cases"] if c["name"] == name]
    fields = ("x", "ct", "v", "y", "dx", "gg_x")
    stored = {field: nhwc(arrays[f"{name}/{field}"]) for field in fields}
    layer = minibatch_stddev.MinibatchStddev(case["group_size"], case["num_channels"])
    x = tf.constant(stored["x"])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x)
            total = tf.reduce_sum(y * stored["ct"])
        dx = inner.gradient(total, x)
        along = tf.reduce_sum(dx * stored["v"])
    second = outer.gradient(along, x)
    assert relative(y.numpy(), stored["y"]) < TOLERANCE
    assert relative(dx.numpy(), stored["dx"]) < TOLERANCE
    scale = np.max(np.abs(stored["gg_x"]))  # 0 for groups of one
    difference = np.max(np.abs(second.numpy() - stored["gg_x"]))
    assert difference <= TOLERANCE * scale


def test_minibatch_stddev_refuses_a_batch_of_broken_groups():
    layer = minibatch_stddev.MinibatchStddev(4)
    with pytest.raises(ValueError, match="multiple of group_size 4; got 6"):
        layer(tf.zeros([6, 2, 2, 3]))
    in_graph = tf.function(
        lambda x: layer(x), input_signature=[tf.TensorSpec([None, 2, 2, 3])]
    )
    assert in_graph(tf.zeros([8, 2, 2, 3])).shape == (8, 2, 2, 4)
    assert in_graph(tf.zeros([3, 2, 2, 3])).shape == (3, 2, 2, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="group_size 4"):
        in_graph(tf.zeros([6, 2, 2, 3]))


@pytest.mark.parametrize("jit", [False, True])
def test_minibatch_stddev_same_numbers_in_a_graph_of_unknown_batch(jit):
    layer = minibatch_stddev.MinibatchStddev(4, 2)
    x = np.random.normal(size=(8, 2, 3, 4)).astype(np.float32)
    signature = [tf.TensorSpec([8 if jit else None, 2, 3, 4])]
    in_graph = tf.function(layer, input_signature=signature, jit_compile=jit)
    expected = stddev_maps(x.astype(np.float64), 4, 2)
    np.testing.assert_allclose(in_graph(x)[:, 0, 0, 4:], expected, rtol=1e-5)


# Errors.


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: equalized.EqualizedDense(0), "units must be at least 1; got 0"),
        (lambda: equalized.EqualizedConv2D(0), "filters must be at least 1; got 0"),
        (lambda: equalized.EqualizedConv2D(4, 2), "kernel_size must be odd; got 2"),
        (
            lambda: equalized.EqualizedConv2D(4, resampling="bilinear"),
            "resampling must be .*got 'bilinear'",
        ),
        (lambda: equalized.EqualizedDense(4, lr_mul=0.0), "lr_mul must be .*got 0"),
        (lambda: equalized.EqualizedDense(4, lr_mul=NAN), "lr_mul must be .*got nan"),
        (lambda: equalized.EqualizedConv2D(4, gain=0), "gain must be .*not 0; got 0"),
        (lambda: equalized.EqualizedConv2D(4, gain=NAN), "gain must be .*got nan"),
        (
            lambda: equalized.EqualizedDense(4, kernel_gain=0),
            "kernel_gain must be .*not 0; got 0",
        ),
        (
            lambda: equalized.EqualizedConv2D(4, blur_kernel=(1, 2, 1)),
            "blur_kernel must .*None without resampling; got",
        ),
        (
            lambda: equalized.EqualizedConv2D(4, resampling="up", blur_kernel=(1, 1)),
            "blur_kernel must hold an odd number of taps",
        ),
        (lambda: modulated_conv.ModulatedConv2D(0), "filters must be .*got 0"),
        (lambda: modulated_conv.ModulatedConv2D(4, 4), "kernel_size must be .*got 4"),
        (lambda: minibatch_stddev.MinibatchStddev(0), "group_size must be .*got 0"),
        (lambda: minibatch_stddev.MinibatchStddev(4, 0), "num_features must .*got 0"),
        (
            lambda: minibatch_stddev.MinibatchStddev(4, 2).build((None, 2, 2, 3)),
            "num_features must divide the channels 3; got 2",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Conformance: what holds for every layer.

LAYERS = {
    "dense": (equalized.EqualizedDense(6, act="lrelu", lr_mul=0.1, seed=1), [(4, 5)]),
    "dense_no_bias": (equalized.EqualizedDense(6, use_bias=False, seed=1), [(4, 5)]),
    "conv": (equalized.EqualizedConv2D(6, act="lrelu", seed=1), [(4, 6, 8, 3)]),
    "conv_up": (
        equalized.EqualizedConv2D(6, 1, resampling="up", use_bias=False, seed=1),
        [(4, 6, 8, 3)],
    ),
    "conv_down": (
        equalized.EqualizedConv2D(6, resampling="down", gain=0.5, seed=1),
        [(4, 6, 8, 3)],
    ),
    "modulated": (modulated_conv.ModulatedConv2D(6, seed=1), [(4, 6, 8, 3), (4, 5)]),
    "modulated_up": (
        modulated_conv.ModulatedConv2D(6, 1, demodulate=False, up=True, seed=1),
        [(4, 6, 8, 3), (4, 5)],
    ),
    "noise": (noise.NoiseInput(seed=1), [(4, 6, 8, 3), (4, 6, 8, 1)]),
    "noise_per_channel": (
        noise.NoiseInput(per_channel=True, seed=1),
        [(4, 6, 8, 3), (4, 6, 8, 1)],
    ),
    "blurred_up": (
        equalized.EqualizedConv2D(
            6, resampling="up", resample_kernel=(1, 1), blur_kernel=(1, 2, 1), seed=1
        ),
        [(4, 6, 8, 3)],
    ),
    "pixel_norm": (normalization.PixelNorm(), [(4, 5)]),
    "instance_norm": (normalization.InstanceNorm(), [(4, 6, 8, 3)]),
    "adain": (adain.AdaIN(seed=1), [(4, 6, 8, 3), (4, 5)]),
    "stddev": (minibatch_stddev.MinibatchStddev(2, 3), [(4, 6, 8, 3)]),
}


@pytest.fixture(params=LAYERS)
def layer_and_inputs(request):
    """A fresh copy of a layer, built, with weights of its own, and its inputs."""
    original, shapes = LAYERS[request.param]
    layer = type(original).from_config(original.get_config())
    inputs = [tf.random.stateless_normal(s, [1, 2]) for s in shapes]
    layer(*inputs)
    random_weights(layer)
    return layer, inputs


def test_conformance_config_round_trip_makes_the_same_layer(layer_and_inputs):
    layer, inputs = layer_and_inputs
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.name == layer.name
    again(*inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(*inputs), again(*inputs))
    missing = object()
    for name in layer.get_config():
        if name not in ("dtype", "trainable"):
            assert getattr(again, name, missing) == getattr(layer, name)


@pytest.mark.parametrize("name", LAYERS)
def test_conformance_config_holds_every_argument(name):
    layer, _ = LAYERS[name]
    again = type(layer).from_config(layer.get_config())
    for argument in inspect.signature(type(layer).__init__).parameters:
        if argument not in ("self", "kwargs", "args"):
            assert argument in layer.get_config()
            assert getattr(again, argument) == getattr(layer, argument)


def test_conformance_shapes_graph_and_unknown_batch(layer_and_inputs):
    layer, inputs = layer_and_inputs
    y = layer(*inputs)
    shapes = [tuple(x.shape) for x in inputs]
    assert tuple(layer.compute_output_shape(*shapes)) == tuple(y.shape)
    unknown = [(None, *shape[1:]) for shape in shapes]
    assert tuple(layer.compute_output_shape(*unknown)) == (None, *y.shape[1:])
    in_graph = tf.function(
        lambda *xs: layer(*xs), input_signature=[tf.TensorSpec(s) for s in unknown]
    )
    np.testing.assert_allclose(in_graph(*inputs), y, rtol=1e-5, atol=1e-6)
    two = in_graph(*[x[:2] for x in inputs])
    assert two.shape == (2, *y.shape[1:])


def test_conformance_saved_in_anyones_keras_model(layer_and_inputs, tmp_path):
    layer, inputs = layer_and_inputs
    symbols = [keras.Input(x.shape[1:]) for x in inputs]
    model = keras.Model(symbols, layer(*symbols))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert len(again.weights) == len(layer.weights)
    np.testing.assert_array_equal(again(inputs), layer(*inputs))


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_conformance_dtype_policy(layer_and_inputs, policy):
    layer, inputs = layer_and_inputs
    config = {**layer.get_config(), "dtype": policy}
    other = type(layer).from_config(config)
    y = other(*inputs)
    policy = keras.DTypePolicy(policy)
    assert y.dtype == policy.compute_dtype
    assert {w.dtype for w in other.weights} <= {policy.variable_dtype}
    other.set_weights(layer.get_weights())
    coarse = 0.05 if "16" in policy.compute_dtype else 1e-5
    expected = layer(*inputs).numpy()
    assert relative(tf.cast(other(*inputs), "float64").numpy(), expected) < coarse
