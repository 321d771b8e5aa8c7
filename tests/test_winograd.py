"""ops.winograd: TensorFlow's convolution and its derivatives, to rounding."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import ops
from tfstylegan.ops import convolution, winograd

SHAPES = [  # N, H, W, C, F
    (2, 4, 4, 32, 64),
    (1, 5, 7, 64, 32),  # tiles that the image ends in
    (3, 1, 1, 32, 32),
    (5, 16, 12, 96, 32),  # several blocks of tiles; a part of the maps is smaller
    (0, 4, 4, 32, 32),
]


@pytest.fixture(autouse=True)
def compiled():
    try:
        ops.library.library()
    except RuntimeError as error:
        pytest.skip(str(error))


def inputs(shape):
    batch, height, width, channels, filters = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal([batch, height, width, channels])
    w = rng.standard_normal([3, 3, channels, filters])
    return x, w, rng.standard_normal([batch, height, width, filters])


def direct(x, w):
    return tf.nn.conv2d(x, w, 1, "SAME")


def derivatives(conv, x, w, v):
    """y, the gradients of sum(y v), and those of the squares of these."""
    with tf.GradientTape() as outer:
        outer.watch([x, w, v])
        with tf.GradientTape() as inner:
            inner.watch([x, w])
            y = conv(x, w)
            total = tf.reduce_sum(y * v)
        first = inner.gradient(total, [x, w])
        squares = tf.add_n([tf.reduce_sum(tf.square(d)) for d in first])
    return [y, *first, *outer.gradient(squares, [x, w, v])]


@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_and_both_orders_of_derivatives_are_those_of_the_sum(shape):
    wide = [tf.constant(t) for t in inputs(shape)]
    narrow = [tf.cast(t, tf.float32) for t in wide]
    exact = derivatives(direct, *wide)  # in float64
    found = derivatives(winograd.conv3x3, *narrow)
    for actual, expected in zip(found, exact, strict=True):
        assert actual.shape == expected.shape
        largest = max(np.abs(expected).max(initial=0), 1)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * largest)


def test_gradient_of_x_has_derivatives_of_its_own():
    """By the op with its kernel turned, which then is differentiated itself."""
    x, w, v = (tf.constant(t) for t in inputs((2, 5, 4, 32, 64)))

    def pulled(conv):
        def gradient(v, w):
            with tf.GradientTape() as tape:
                zeros = tf.zeros_like(tf.cast(x, w.dtype))
                tape.watch(zeros)
                y = conv(zeros, w)
            return tape.gradient(y, zeros, v)

        return gradient

    exact = derivatives(pulled(direct), v, w, x)
    narrow = [tf.cast(t, tf.float32) for t in (v, w, x)]
    found = derivatives(pulled(winograd.conv3x3), *narrow)
    for actual, expected in zip(found, exact, strict=True):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * largest)


def test_error_is_of_the_size_of_the_direct_sums_error():
    wide = [tf.constant(t) for t in inputs((4, 16, 16, 128, 128))]
    narrow = [tf.cast(t, tf.float32) for t in wide]
    exact = derivatives(direct, *wide)
    error = [
        [np.sqrt(np.mean(np.square(a - b.numpy()))) for a, b in zip(of, exact)]
        for of in (derivatives(f, *narrow) for f in (winograd.conv3x3, direct))
    ]
    assert np.all(np.array(error[0]) < 5 * np.array(error[1])), error


def test_gradient_passes_the_numeric_check():
    x, w, v = inputs((1, 3, 4, 32, 32))
    x, w, v = (tf.constant(t, tf.float32) for t in (x / 8, w / 8, v))
    rng = np.random.default_rng(1)
    for i, t in enumerate((x, w)):
        along = tf.constant(rng.choice([-1, 1], t.shape), tf.float32)

        def value(step, i=i, along=along):
            moved = [x, w]
            moved[i] += step * along
            return tf.reduce_sum(winograd.conv3x3(*moved) * v)

        with tf.GradientTape() as tape:
            tape.watch(t)
            total = tf.reduce_sum(winograd.conv3x3(x, w) * v)
        slope = tf.reduce_sum(tape.gradient(total, t) * along)
        numeric = value(0.5) - value(-0.5)  # linear in each
        np.testing.assert_allclose(slope, numeric, rtol=1e-4)


def test_a_sample_does_not_depend_on_the_others():
    x, w, _ = (tf.constant(t, tf.float32) for t in inputs((5, 8, 8, 32, 32)))
    alone = tf.concat([winograd.conv3x3(x[i : i + 1], w) for i in range(5)], axis=0)
    assert np.array_equal(winograd.conv3x3(x, w), alone)


def test_what_is_not_finite_spreads_no_further_than_its_tiles():
    x, w, _ = (tf.constant(t, tf.float32) for t in inputs((2, 8, 8, 32, 32)))
    broken = tf.tensor_scatter_nd_update(x, [[0, 3, 3, 5]], [np.nan])
    y, expected = winograd.conv3x3(broken, w), winograd.conv3x3(x, w)
    assert np.all(np.isnan(y[0, 2:5, 2:5]))
    assert np.array_equal(y[1], expected[1])
    assert np.array_equal(y[0, 6:], expected[0, 6:])


_HASHES = """
import hashlib, sys
import tensorflow as tf
from tfstylegan.ops import library
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
x = tf.random.stateless_normal([5, 21, 18, 96], [0, 1])
w = tf.random.stateless_normal([3, 3, 96, 64], [0, 2])
y = library.library().tfstylegan_conv3x3(x=x, w=w)
dx = library.library().tfstylegan_conv3x3(x=y, w=w, transposed=True)
dw = library.library().tfstylegan_conv3x3_kernel_grad(x=x, dy=y)
for t in (y, dx, dw):
    print(hashlib.sha256(t.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_convolution_is_the_same_for_any_number_of_threads():
    root = pathlib.Path(__file__).parents[1]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", _HASHES, str(threads)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        ).stdout
        for threads in (1, 2, 5)
    ]
    assert outputs[0].count("\n") == 3
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize(
    "op, first, second, message",
    [
        (
            "",
            [1, 4, 4, 33],
            [3, 3, 33, 32],
            r"x must be .*multiple of 32.*\[1,4,4,33\]",
        ),
        ("", [4, 4, 32], [3, 3, 32, 32], "x must be|rank 4"),
        ("", [1, 4, 4, 32], [3, 3, 32, 16], r"w must be .*got \[3,3,32,16\]"),
        ("", [1, 4, 4, 32], [3, 3, 64, 32], r"w must be .*C = 32.*\[3,3,64,32\]"),
        ("", [1, 4, 4, 32], [1, 3, 32, 32], r"w must be .*got \[1,3,32,32\]"),
        ("_t", [1, 4, 4, 32], [3, 3, 32, 64], r"w must be .*F = 32.*\[3,3,32,64\]"),
        ("_t", [1, 4, 4, 32], [3, 3, 16, 32], r"w must be .*F = 32.*\[3,3,16,32\]"),
        ("_kernel_grad", [1, 4, 4, 32], [1, 4, 5, 32], r"dy must have.*\[1,4,5,32\]"),
        ("_kernel_grad", [1, 4, 4, 32], [1, 4, 4, 8], r"dy must be .*\[1,4,4,8\]"),
    ],
)
def test_refusals_name_the_value(op, first, second, message):
    first, second = tf.zeros(first), tf.zeros(second)
    if op == "_kernel_grad":
        function = ops.library.library().tfstylegan_conv3x3_kernel_grad
        arguments = {"x": first, "dy": second}
    else:
        function = ops.library.library().tfstylegan_conv3x3
        arguments = {"x": first, "w": second, "transposed": op == "_t"}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(**arguments)


def kinds(x, w, stride=1, padding="SAME"):
    """Types of the ops that a convolution becomes."""
    function = tf.function(lambda x, w: convolution.conv2d(x, w, stride, padding))
    graph = function.get_concrete_function(x, w).graph
    return {node.op for node in graph.as_graph_def().node}


def test_it_serves_where_it_can_and_nowhere_else():
    x, w = tf.zeros([1, 4, 4, 32]), tf.zeros([3, 3, 32, 32])
    if ops.library.cpu_level() < ops.library.AVX512:
        assert "TfstyleganConv3x3" not in kinds(x, w)
        pytest.skip("no AVX-512")
    assert "TfstyleganConv3x3" in kinds(x, w)
    half = tf.cast(x, tf.float16), tf.cast(w, tf.float16)
    assert "TfstyleganConv3x3" in kinds(*half)  # convolved in float32
    others = [
        (tf.cast(x, tf.bfloat16), tf.cast(w, tf.bfloat16)),
        (tf.cast(x, tf.float64), tf.cast(w, tf.float64)),
        (x, w, 2),
        (x, w, 1, "VALID"),
        (x, w[:1, :1]),
        (x[..., :31], w[:, :, :31]),
        (x, w[..., :3]),
    ]
    for arguments in others:
        assert "TfstyleganConv3x3" not in kinds(*arguments), arguments[0].dtype
    with ops.implementation("reference"):
        assert "TfstyleganConv3x3" not in kinds(x, w)
    with ops.implementation("compiled", target="any"):
        assert "TfstyleganConv3x3" not in kinds(x, w)
    assert "TfstyleganConv3x3" in kinds(x, w)
