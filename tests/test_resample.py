"""ops.resample: definitions, reference numbers, and the forms that are cheaper."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfstylegan.ops import resample

K1331 = [1, 3, 3, 1]


def test_setup_filter_golden(golden):
    data = golden("upfirdn2d")
    compared = 0
    for case in data["meta"]["setup_filter"]:
        expected = data.get(f"{case['name']}/out")
        if not isinstance(case["f"], list) or expected is None:
            continue
        if case["kwargs"] in ({"separable": True}, {"separable": False}, {}):
            kernel = resample.setup_filter(case["f"])
            assert kernel.dtype == np.float32
            if expected.ndim > kernel.ndim:
                kernel = np.outer(kernel, kernel)
            np.testing.assert_allclose(kernel, expected, rtol=1e-6, atol=1e-9)
            compared += 1
    assert compared >= 12


def test_setup_filter_keeps_what_it_made():
    kernel = resample.setup_filter(K1331)
    np.testing.assert_array_equal(kernel, np.array(K1331) / 8)
    np.testing.assert_array_equal(resample.setup_filter(kernel), kernel)
    np.testing.assert_array_equal(resample.setup_filter(None), [1])
    assert resample.setup_filter([[1, 2], [3, 4]]).shape == (2, 2)


@pytest.mark.parametrize("taps", [[], [[[1.0]]], [1, -1], [np.inf], [np.nan]])
def test_setup_filter_rejects(taps):
    with pytest.raises(ValueError, match="taps must"):
        resample.setup_filter(taps)


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_oracle_nearest_and_box(factor):
    x = np.random.normal(size=(2, 3, 5, 2))
    up = resample.upsample_nearest(tf.constant(x), factor)
    np.testing.assert_array_equal(up, oracles.repeat(x, factor))
    large = np.random.normal(size=(2, 3 * factor, 5 * factor, 2))
    down = resample.downsample_box(tf.constant(large), factor)
    np.testing.assert_allclose(down, oracles.box(large, factor), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(resample.upsample_2d(x, None, factor), up, rtol=1e-6)
    np.testing.assert_allclose(
        resample.downsample_2d(large, None, factor), down, rtol=1e-6, atol=1e-6
    )
    unknown = tf.TensorSpec([None] * 3 + [2], tf.float64)
    in_graph = tf.function(
        lambda x: resample.upsample_nearest(x, factor), input_signature=[unknown]
    )
    np.testing.assert_array_equal(in_graph(x), up)


def test_nearest_then_convolution_by_hand():
    """StyleGAN's unfused up-convolution; its fused form reverses the weights."""
    x = np.array([3.0, 7, 1, 4]).reshape(1, 1, 4, 1)
    w = np.zeros([3, 3, 1, 1])
    w[1, :, 0, 0] = [1, 2, 5]
    for weights, expected in (
        (w, [21, 44, 52, 26, 14, 23, 29, 12]),
        (w[:, ::-1], [9, 28, 36, 50, 38, 11, 17, 28]),
    ):
        y = resample.upsample_conv_2d(x, weights, [1, 1]).numpy()
        np.testing.assert_allclose(y[0, :, :, 0], [expected, expected], rtol=1e-12)
    blurred = resample.filter_2d(
        np.array([[1.0, 2], [3, 4]])[None, ..., None], [1, 2, 1]
    )
    expected = [[1.125, 1.3125], [1.5, 1.6875]]
    np.testing.assert_array_equal(blurred[0, ..., 0], expected)


def test_resample_numbers_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    a = np.arange(16.0).reshape(1, 4, 4, 1)
    expected = [
        [0.5625, 0.9375, 1.3125, 1.125],
        [1.125, 1.75, 2.25, 1.875],
        [1.875, 2.75, 3.25, 2.625],
        [1.6875, 2.4375, 2.8125, 2.25],
    ]
    np.testing.assert_array_equal(resample.upsample_2d(x, K1331)[0, ..., 0], expected)
    np.testing.assert_array_equal(
        resample.downsample_2d(a, K1331)[0, ..., 0],
        [[2.734375, 3.9375], [7.546875, 8.75]],
    )
    filtered = resample.filter_2d(a, K1331)[0, ..., 0]
    np.testing.assert_array_equal(filtered[0], [0.3125, 0.75, 1.25, 1.4375])
    np.testing.assert_array_equal(filtered[3], [4.109375, 7.546875, 9.3125, 8.75])
    np.testing.assert_array_equal(
        resample.filter_2d(x, [1, 2, 1])[0, ..., 0], [[1.125, 1.3125], [1.5, 1.6875]]
    )


def test_resample_without_a_kernel_is_nearest_and_average():
    x = np.arange(12.0).reshape(1, 2, 6, 1)
    y = resample.upsample_2d(x, None, 3)
    np.testing.assert_allclose(y, x.repeat(3, 1).repeat(3, 2))
    mean = x.reshape(1, 1, 2, 3, 2, 1).mean((2, 4))
    np.testing.assert_allclose(resample.downsample_2d(x, None), mean)


@pytest.mark.parametrize("case", ["filter2d", "upsample2d", "downsample2d"])
def test_resample_golden(golden, case):
    """The published cases that keep, double or halve the size, filter of sum 1."""
    data = golden("upfirdn2d")
    compared = 0
    for c in data["meta"]["cases"]:
        x, f, y = (data.get(f"{c['name']}/{key}") for key in ("x", "f", "y"))
        factor = c.get("up", 1) if case == "upsample2d" else c.get("down", 1)
        if c["op"] != case or c["padding"] != 0 or not isinstance(factor, int):
            continue
        x = np.moveaxis(x, 1, -1)
        if case == "filter2d":
            result = resample.filter_2d(x, f) * np.sum(f) ** (3 - f.ndim)
        elif case == "upsample2d":
            result = resample.upsample_2d(x, f, factor) * np.sum(f) ** (3 - f.ndim)
        else:
            result = resample.downsample_2d(x, f, factor) * np.sum(f) ** (3 - f.ndim)
        np.testing.assert_allclose(
            result, np.moveaxis(y, 1, -1), rtol=1e-4, atol=1e-5, err_msg=c["name"]
        )
        compared += 1
    assert compared >= 1


def test_resample_conv_golden(golden):
    data = golden("conv")
    assert len(data["meta"]["cases"]) == 6
    for case in data["meta"]["cases"]:
        fields = {
            key: data[f"{case['name']}/{key}"]
            for key in ("x", "w", "f", "ct", "vx", "vw")
        }
        x, ct, vx = (
            tf.constant(np.moveaxis(fields[k], 1, -1)) for k in ("x", "ct", "vx")
        )
        w, vw = (tf.constant(fields[k].transpose(2, 3, 1, 0)) for k in ("w", "vw"))
        with tf.GradientTape() as outer:
            outer.watch([x, w])
            with tf.GradientTape() as inner:
                inner.watch([x, w])
                if case["up"] > 1:
                    y = resample.upsample_conv_2d(x, w, fields["f"], case["up"])
                else:
                    y = resample.conv_downsample_2d(x, w, fields["f"], case["down"])
            dx, dw = inner.gradient(y, [x, w], ct)
            total = tf.reduce_sum(dx * vx) + tf.reduce_sum(dw * vw)
        gg_x, gg_w = outer.gradient(total, [x, w])
        for field, value in {"y": y, "dx": dx, "gg_x": gg_x}.items():
            expected = np.moveaxis(data[f"{case['name']}/{field}"], 1, -1)
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
        for field, value in {"dw": dw, "gg_w": gg_w}.items():
            expected = data[f"{case['name']}/{field}"].transpose(2, 3, 1, 0)
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-3)


# Taps that no flip leaves as they are.
SKEW = np.array([1.0, 2.0, 4.0, 3.0])


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("factor", [2, 3])
def test_upsample_conv_is_insert_correlate_smooth(width, factor):
    rng = np.random.default_rng(0)
    x = rng.standard_normal([2, 4, 5, 3])
    w = rng.standard_normal([width, width, 3, 2])
    y = oracles.conv2d(oracles.zero_insert(x, factor), w, width - 1)
    p = len(SKEW) - factor  # as for upsample_2d, less what the conv has grown by
    pads = ((p + 1) // 2 + factor - 1 - width // 2, p // 2 - width // 2) * 2
    kernel = factor**2 * np.outer(SKEW, SKEW) / SKEW.sum() ** 2
    expected = oracles.upfirdn2d(y, kernel, (1, 1), (1, 1), pads)
    found = resample.upsample_conv_2d(x, w, SKEW, factor)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("factor", [2, 3])
def test_conv_downsample_is_smooth_correlate_decimate(width, factor):
    rng = np.random.default_rng(0)
    x = rng.standard_normal([2, 9, 12, 3])
    w = rng.standard_normal([width, width, 3, 2])
    p = len(SKEW) - factor + width - 1
    pads = ((p + 1) // 2, p // 2) * 2
    kernel = np.outer(SKEW, SKEW) / SKEW.sum() ** 2
    smooth = oracles.upfirdn2d(x, kernel, (1, 1), (1, 1), pads)
    expected = oracles.conv2d(smooth, w)[:, ::factor, ::factor]
    found = resample.conv_downsample_2d(x, w, SKEW, factor)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [[None, 4, 6, 3], [None, None, None, 3]])
def test_resample_unknown_dimensions(shape):
    w = tf.random.stateless_normal([3, 3, 3, 2], [0, 1])

    @tf.function(input_signature=[tf.TensorSpec(shape)])
    def all_of_them(x):
        return (
            resample.upsample_2d(x, K1331),
            resample.downsample_2d(x, K1331),
            resample.filter_2d(x, K1331),
            resample.upsample_conv_2d(x, w, K1331),
            resample.conv_downsample_2d(x, w, K1331),
        )

    y = all_of_them(tf.ones([5, 4, 6, 3]))
    sizes = [[8, 12, 3], [2, 3, 3], [4, 6, 3], [8, 12, 2], [2, 3, 2]]
    assert [v.shape for v in y] == [[5, *size] for size in sizes]


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        ("upsample_2d", {"factor": 0}, "factor must be .*got 0"),
        ("downsample_2d", {"factor": 1.5}, "factor must be .*got 1.5"),
        ("upsample_conv_2d", {"w": np.zeros([3, 3, 2, 1])}, "w must be .*C of x"),
        ("conv_downsample_2d", {"w": np.zeros([3, 3])}, "w must be .*got .3, 3"),
        ("upsample_conv_2d", {"x": np.zeros([4, 4, 3]), "w": 0.0}, "x must be"),
    ],
)
def test_resample_rejects(function, arguments, message):
    arguments = {"x": np.zeros([1, 4, 4, 3]), "kernel": K1331, **arguments}
    with pytest.raises(ValueError, match=message):
        getattr(resample, function)(**arguments)
