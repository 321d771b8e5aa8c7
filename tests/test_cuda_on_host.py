"""CUDA kernels of upfirdn2d and fused_bias_act on a host, against the NumPy oracles.

Shows that the arithmetic and the choice of kernels are right; that the barriers stand
where they must, only a GPU can show.
"""

import ctypes

import cuda_host
import numpy as np
import oracles
import pytest
from cuda_host import DTYPES, aligned, close, cuda_launchers, launchers, poisoned

TAPS4 = np.array([1.0, 3.0, 4.0, -2.0])  # not symmetric, so that a reversal shows


def check_upfirdn2d(x, taps, up, down, pads, dtype, shift=0):
    """Correlates x with taps; returns the strips' mode, -1 for none."""
    numpy_type, tolerance = DTYPES[dtype]
    x = aligned(x.astype(numpy_type), shift)
    taps = np.ascontiguousarray(taps, np.float64)
    expected = oracles.upfirdn2d(x, taps, up, down, pads, flip_kernel=True)
    y = poisoned(expected.shape, numpy_type, shift)
    pad0 = pads[0], pads[2]
    launchers().upfirdn2d(x, taps, up, down, pad0, y)
    close(y, expected, tolerance)
    shape = cuda_launchers.Upfirdn2dShape.of(
        x.shape, y.shape[1:3], taps.shape, up, down, pad0
    )
    return cuda_host.library().strip_mode(ctypes.byref(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 5, 64])
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_four_taps_match_the_oracle(up, down, channels, dtype):
    mode = {(1, 1): 0, (2, 1): 1, (1, 2): 2}[up, down]
    taps = np.outer(TAPS4, TAPS4[::-1]) / 36
    for height, width, pads in [
        (1, 1, (3, 3, 2, 2)),
        (1, 1, (1, 2, 3, 5)),
        (5, 2, (3, 0, 2, 3)),
        (7, 9, (2, 1, 1, 2)),
        (12, 21, (-1, 3, 3, -2)),
        (4, 6, (9, 8, -3, 11)),
    ]:
        x = np.random.randn(2, height, width, channels)
        args = x, taps, (up, up), (down, down), pads, dtype
        assert check_upfirdn2d(*args) == mode


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("channels", [4, 37, 64])
def test_four_taps_over_many_strips(up, down, channels):
    """Strips begin inside of the image, in rows, columns and channels."""
    taps = np.outer(TAPS4, [1, 2, 3, 1]) / 49
    x = np.random.randn(1, 75, 83, channels)
    args = taps, (up, up), (down, down), (1, 2, 2, 1), "float32"
    assert check_upfirdn2d(x, *args) >= 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_unaligned_memory_is_read_by_elements(dtype):
    x = np.random.randn(1, 6, 5, 8)
    taps = np.outer(TAPS4, TAPS4) / 36
    args = x, taps, (1, 1), (1, 1), (2, 1, 2, 1), dtype
    check_upfirdn2d(*args, shift=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_general_kernel_matches_the_oracle(seed, dtype):
    random = np.random.default_rng(seed)
    for _ in range(4):
        channels = int(random.choice([1, 3, 4, 5, 8]))
        height, width = random.integers(1, 9, 2)
        up, down = random.integers(1, 5, (2, 2)).tolist()
        taps = random.normal(size=random.integers(1, 8, 2))
        if seed % 2:
            taps = np.outer(taps[:, 0], taps[0])
        pads = []
        for length, k, u in zip((height, width), taps.shape, up):
            first = int(random.integers(-min(2, length * u - 1), 6))
            rest = max(int(random.integers(-2, 6)), k - length * u - first)
            pads += [first, rest]
        x = random.normal(size=(2, height, width, channels))
        check_upfirdn2d(x, taps, up, down, pads, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_taps_go_through_scratch_memory(dtype):
    taps = np.random.randn(25, 22)
    x = np.random.randn(1, 9, 8, 3)
    args = x, taps, (2, 1), (1, 3), (13, 11, 10, 12), dtype
    assert check_upfirdn2d(*args) == -1


def test_samples_far_outside_are_zeros():
    """Padding of 2^40 costs no loop, and the size is free."""
    for pad in (2**40, -(2**40)):
        y = poisoned([1, 3, 3, 1], np.float64)
        arguments = np.ones([3, 3]), (2, 3), (1, 2), (pad, 0), y
        launchers().upfirdn2d(np.ones([1, 2, 2, 1]), *arguments)
        np.testing.assert_array_equal(y, 0)


def check_fused(
    shape, axis, act, dtype, *, vectors=True, shift=0, gain=1.5, clamp=None
):
    """Forward, dx and d_bias; `vectors`: with bias and dy_bias."""
    numpy_type, tolerance = DTYPES[dtype]
    random = np.random.default_rng(len(shape) * 1000 + axis)
    x, dy = (
        aligned(random.normal(size=shape).astype(numpy_type), shift) for _ in range(2)
    )
    bias, plus = (
        aligned(random.normal(size=shape[axis]).astype(numpy_type)) for _ in range(2)
    )
    dy *= 0.125  # so that the sums of the largest case fit into half
    plus *= 0.125
    limit = np.inf if clamp is None else clamp
    options = cuda_launchers.FusedBiasAct.of(shape, axis, act, 0.2, gain, limit)
    own_bias, own_plus = (bias, plus) if vectors else (None, None)

    def oracle(x):
        b = bias.astype(np.float64) if vectors else np.zeros(shape[axis])
        return oracles.bias_act(x, b, axis, act, 0.2, gain, clamp)

    wide = x.astype(np.float64)
    y = poisoned(shape, numpy_type, shift)
    launchers().fused_bias_act(x, own_bias, options, y)
    close(y, oracle(wide), tolerance)

    step = 1e-6
    ahead, behind = (
        oracle(wide + step) - oracle(wide),
        oracle(wide) - oracle(wide - step),
    )
    slope = (ahead + behind) / (2 * step)
    jumps = np.abs(ahead - behind) > 1e-3 * step  # there the quotient means nothing
    assert jumps.mean() < 0.05
    slope[np.abs(y.astype(np.float64)) >= limit] = 0  # also by rounding
    broadcast = [1] * len(shape)
    broadcast[axis] = -1
    incoming = dy.astype(np.float64)
    if vectors:
        incoming = incoming + plus.astype(np.float64).reshape(broadcast)
    expected = incoming * slope
    if dtype == "float64":
        tolerance = 1e-8  # of the difference quotient
    dx = poisoned(shape, numpy_type, shift)
    d_bias = poisoned([shape[axis]], numpy_type) if vectors else None
    ref = x if act == "swish" else y
    launchers().fused_bias_act_grad(dy, own_plus, ref, own_bias, options, dx, d_bias)
    expected[jumps] = dx[jumps]
    close(dx, expected, tolerance)
    if vectors:
        others = tuple(i for i in range(len(shape)) if i != axis)
        # Rounding is relative to the terms, not to what remains of them.
        terms = np.max(np.abs(expected).sum(others), initial=1e-30)
        close(d_bias, expected.sum(others), tolerance, terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", cuda_launchers.ACTS)
def test_activations_match_the_oracle(act, dtype):
    for clamp in (None, 1.25):
        for gain in (1.5, -0.75):
            check_fused((3, 4, 5, 8), 3, act, dtype, gain=gain, clamp=clamp)
        check_fused((3, 7, 5), 1, act, dtype, vectors=False, clamp=clamp)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape, axis",
    [
        ((1,), 0),
        ((5,), 0),
        ((1, 1, 1, 1), 3),
        ((7, 3, 5, 1), 3),
        ((9, 8, 8, 3), 3),
        ((9, 8, 8, 5), 3),
        ((40, 10, 10, 64), 3),
        ((30, 513), 1),
        ((3, 5, 4, 8), 1),
        ((3, 5, 7, 3), 1),
        ((2, 3, 70000), 1),
        ((3, 16), 0),
        ((17000, 129), 1),
    ],
)
def test_shapes_match_the_oracle(shape, axis, dtype):
    check_fused(shape, axis, "lrelu", dtype, clamp=1.0)
    check_fused(shape, axis, "swish", dtype, vectors=False)


def test_unaligned_vectors_and_tensors():
    for dtype in DTYPES:
        check_fused((5, 6, 16), 2, "lrelu", dtype, shift=1)
        check_fused((5, 16, 6), 1, "swish", dtype, shift=1)


def test_clamp_that_the_type_rounds_down_stops_the_gradient():
    """At the clamp as y has it: 1.3 is 1.296875 in bfloat16."""
    x = aligned(np.array([[3.0, 1.25, -3.0]], DTYPES["bfloat16"][0]))
    options = cuda_launchers.FusedBiasAct.of(x.shape, 1, "linear", 1.0, 1.0, 1.3)
    y, dx = poisoned(x.shape, x.dtype), poisoned(x.shape, x.dtype)
    launchers().fused_bias_act(x, None, options, y)
    launchers().fused_bias_act_grad(x, None, y, None, options, dx, None)
    np.testing.assert_array_equal(dx.astype(np.float64), [[0, 1.25, 0]])


def test_infinities_pass_the_rectifiers():
    x = aligned(np.array([[np.inf], [-np.inf], [np.nan], [-0.0], [2.0]]))
    for act, below in (("relu", 0.0), ("lrelu", -np.inf)):
        y = poisoned(x.shape, np.float64)
        options = cuda_launchers.FusedBiasAct.of(x.shape, 1, act, 0.2, 1.0, np.inf)
        launchers().fused_bias_act(x, None, options, y)
        np.testing.assert_array_equal(y[:, 0], [np.inf, below, np.nan, 0.0, 2.0])


def test_empty_batch_has_a_zero_bias_gradient():
    d_bias, empty = poisoned([6], np.float32), np.zeros([0, 4, 6], np.float32)
    options = cuda_launchers.FusedBiasAct.of(empty.shape, 2, "lrelu", 0.2, 1.0, np.inf)
    launchers().fused_bias_act_grad(empty, None, empty, None, options, empty, d_bias)
    np.testing.assert_array_equal(d_bias, 0)


@pytest.mark.parametrize("dtype, act", [(4, 0), (-1, 0), (0, 9), (0, -1)])
def test_unknown_codes_are_invalid_values(dtype, act):
    x = np.zeros([4, 1])
    options = cuda_launchers.FusedBiasAct.of(x.shape, 1, "lrelu", 0.2, 1.0, np.inf)
    options.act = act
    launchers()  # declares the arguments
    launch = cuda_host.library().tfstylegan_fused_bias_act_cuda
    status = launch(dtype, x.ctypes.data, None, options, x.ctypes.data, None)
    assert status == 1  # cudaErrorInvalidValue
