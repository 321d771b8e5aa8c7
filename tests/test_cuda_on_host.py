"""The CUDA kernels' own code, compiled for the host, against the NumPy oracles.

Shows that the arithmetic, the indices and the choice of kernels are right; that the
barriers stand where they must, only a GPU can show.
"""

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess

import ml_dtypes
import numpy as np
import oracles
import pytest

ROOT = pathlib.Path(__file__).parents[1]
DTYPES = {
    "float32": (0, np.float32, 1e-5),
    "float64": (1, np.float64, 1e-12),
    "float16": (2, np.float16, 1e-2),
    "bfloat16": (3, ml_dtypes.bfloat16, 1e-2),
}
ACTS = [
    *("linear", "relu", "lrelu", "tanh", "sigmoid"),
    *("elu", "selu", "softplus", "swish"),
]
TAPS4 = np.array([1.0, 3.0, 4.0, -2.0])  # not symmetric, so that a reversal shows
Pair = ctypes.c_int64 * 2
Four = ctypes.c_int64 * 4


class Shape(ctypes.Structure):
    """TfstyleganUpfirdn2dShape."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        *((name, Pair) for name in ("in_", "out", "taps", "up", "down", "pad0")),
    ]


class Options(ctypes.Structure):
    """TfstyleganFusedBiasAct."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("outer", "channels", "inner")),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        ("act", ctypes.c_int),
    ]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The bodies as a library, without optimisations that reorder sums."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C++ compiler ({compiler} is not on the PATH)")
    path = tmp_path_factory.mktemp("cuda_on_host") / "kernels.so"
    source = ROOT / "tests/cuda_on_host.cc"
    command = [compiler, "-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Werror"]
    command += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    command += [f"-I{ROOT / 'custom_ops'}", str(source), "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(path))
    for name in ("sample_offset", "strip_corner", "walk"):
        getattr(library, name).restype = ctypes.c_int64
    library.tfstylegan_upfirdn2d_cuda_scratch.restype = ctypes.c_int64
    library.tfstylegan_fused_bias_act_grad_cuda_scratch.restype = ctypes.c_int64
    return library


def aligned(array, shift=0):
    """A copy whose address is `shift` elements behind a multiple of 16 bytes."""
    size = array.dtype.itemsize
    memory = np.zeros(array.nbytes + 16 + shift * size, np.uint8)
    start = -memory.ctypes.data % 16 + shift * size
    copy = memory[start : start + array.nbytes].view(array.dtype)
    copy = copy.reshape(array.shape)
    copy[...] = array
    return copy


def poisoned(shape, dtype, shift=0):
    return aligned(np.full(shape, np.nan, dtype), shift)


def pointer(array):
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def scratch_of(size):
    """Poisoned memory for a launcher; none for no bytes."""
    return poisoned([-(-size // 8)], np.float64) if size else None


def close(found, expected, tolerance):
    found = np.asarray(found, np.float64)
    assert found.shape == expected.shape
    scale = np.max(np.abs(expected), initial=1e-30)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def check_upfirdn2d(kernels, x, taps, up, down, pads, dtype, shift=0):
    """Correlates x with taps; returns the strips' mode, -1 for none."""
    code, numpy_type, tolerance = DTYPES[dtype]
    x = aligned(x.astype(numpy_type), shift)
    taps = np.ascontiguousarray(taps, np.float64)
    expected = oracles.upfirdn2d(x, taps, up, down, pads, flip_kernel=True)
    shape = Shape(batch=x.shape[0], channels=x.shape[3])
    shape.in_, shape.out = Pair(*x.shape[1:3]), Pair(*expected.shape[1:3])
    shape.taps = Pair(*taps.shape)
    shape.up, shape.down = Pair(*up), Pair(*down)
    shape.pad0 = Pair(pads[0], pads[2])
    y = poisoned(expected.shape, numpy_type, shift)
    size = kernels.tfstylegan_upfirdn2d_cuda_scratch(code, ctypes.byref(shape))
    scratch = scratch_of(size)
    status = kernels.tfstylegan_upfirdn2d_cuda(
        code,
        pointer(x),
        pointer(taps),
        ctypes.byref(shape),
        pointer(scratch),
        pointer(y),
        None,
    )
    assert status == 0
    close(y, expected, tolerance)
    return kernels.strip_mode(ctypes.byref(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 5, 64])
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_four_taps_match_the_oracle(kernels, up, down, channels, dtype):
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
        assert check_upfirdn2d(kernels, *args) == mode


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("channels", [4, 37, 64])
def test_four_taps_over_many_strips(kernels, up, down, channels):
    """Strips begin inside of the image, in rows, columns and channels."""
    taps = np.outer(TAPS4, [1, 2, 3, 1]) / 49
    x = np.random.randn(1, 75, 83, channels)
    args = taps, (up, up), (down, down), (1, 2, 2, 1), "float32"
    assert check_upfirdn2d(kernels, x, *args) >= 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_unaligned_memory_is_read_by_elements(kernels, dtype):
    x = np.random.randn(1, 6, 5, 8)
    taps = np.outer(TAPS4, TAPS4) / 36
    args = x, taps, (1, 1), (1, 1), (2, 1, 2, 1), dtype
    check_upfirdn2d(kernels, *args, shift=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_general_kernel_matches_the_oracle(kernels, seed, dtype):
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
        check_upfirdn2d(kernels, x, taps, up, down, pads, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_taps_go_through_scratch_memory(kernels, dtype):
    taps = np.random.randn(25, 22)
    x = np.random.randn(1, 9, 8, 3)
    args = x, taps, (2, 1), (1, 3), (13, 11, 10, 12), dtype
    assert check_upfirdn2d(kernels, *args) == -1


def test_samples_far_outside_are_zeros(kernels):
    """Padding of 2^40 costs no loop, and the size is free."""
    shape = Shape(batch=1, channels=1, in_=Pair(2, 2), out=Pair(3, 3))
    shape.taps, shape.up, shape.down = Pair(3, 3), Pair(2, 3), Pair(1, 2)
    taps, x = np.ones([3, 3]), np.ones([1, 2, 2, 1])
    for pad in (2**40, -(2**40)):
        shape.pad0 = Pair(pad, 0)
        y = poisoned([1, 3, 3, 1], np.float64)
        status = kernels.tfstylegan_upfirdn2d_cuda(
            1, pointer(x), pointer(taps), ctypes.byref(shape), None, pointer(y), None
        )
        assert status == 0
        np.testing.assert_array_equal(y, 0)


def options_of(x, axis, act, alpha=0.2, gain=1.5, clamp=None):
    outer = int(np.prod(x.shape[:axis]))
    inner = int(np.prod(x.shape[axis + 1 :]))
    clamp = np.inf if clamp is None else clamp
    return Options(outer, x.shape[axis], inner, alpha, gain, clamp, ACTS.index(act))


def check_fused(kernels, shape, axis, act, dtype, *, vectors=True, shift=0, **chosen):
    """Forward, dx and d_bias; `vectors`: with bias and dy_bias."""
    code, numpy_type, tolerance = DTYPES[dtype]
    random = np.random.default_rng(len(shape) * 1000 + axis)
    x, dy = (
        aligned(random.normal(size=shape).astype(numpy_type), shift) for _ in range(2)
    )
    bias, plus = (
        aligned(random.normal(size=shape[axis]).astype(numpy_type)) for _ in range(2)
    )
    dy *= 0.125  # so that the sums of the largest case fit into half
    plus *= 0.125
    options = options_of(x, axis, act, **chosen)
    call = ctypes.byref(options)
    own_bias, own_plus = (bias, plus) if vectors else (None, None)

    def oracle(x):
        b = bias.astype(np.float64) if vectors else np.zeros(shape[axis])
        clamp = None if np.isinf(options.clamp) else options.clamp
        alpha = options.alpha
        return oracles.bias_act(x, b, axis, act, alpha, options.gain, clamp)

    wide = x.astype(np.float64)
    y = poisoned(shape, numpy_type, shift)
    status = kernels.tfstylegan_fused_bias_act_cuda(
        code, pointer(x), pointer(own_bias), call, pointer(y), None
    )
    assert status == 0
    close(y, oracle(wide), tolerance)

    step = 1e-6
    ahead, behind = (
        oracle(wide + step) - oracle(wide),
        oracle(wide) - oracle(wide - step),
    )
    slope = (ahead + behind) / (2 * step)
    jumps = np.abs(ahead - behind) > 1e-3 * step  # there the quotient means nothing
    assert jumps.mean() < 0.05
    slope[np.abs(y.astype(np.float64)) >= options.clamp] = 0  # also by rounding
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
    size = kernels.tfstylegan_fused_bias_act_grad_cuda_scratch(code, call)
    scratch = scratch_of(size if vectors else 0)
    status = kernels.tfstylegan_fused_bias_act_grad_cuda(
        code,
        pointer(dy),
        pointer(own_plus),
        pointer(x if act == "swish" else y),
        pointer(own_bias),
        call,
        pointer(scratch),
        pointer(dx),
        pointer(d_bias),
        None,
    )
    assert status == 0
    expected[jumps] = dx[jumps]
    close(dx, expected, tolerance)
    if vectors:
        others = tuple(i for i in range(len(shape)) if i != axis)
        # Rounding is relative to the terms, not to what remains of them.
        terms = np.max(np.abs(expected).sum(others), initial=1e-30)
        total = np.asarray(d_bias, np.float64)
        np.testing.assert_allclose(
            total, expected.sum(others), rtol=0, atol=tolerance * terms
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ACTS)
def test_activations_match_the_oracle(kernels, act, dtype):
    for clamp in (None, 1.25):
        for gain in (1.5, -0.75):
            check_fused(kernels, (3, 4, 5, 8), 3, act, dtype, gain=gain, clamp=clamp)
        check_fused(kernels, (3, 7, 5), 1, act, dtype, vectors=False, clamp=clamp)


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
def test_shapes_match_the_oracle(kernels, shape, axis, dtype):
    check_fused(kernels, shape, axis, "lrelu", dtype, clamp=1.0)
    check_fused(kernels, shape, axis, "swish", dtype, vectors=False)


def test_unaligned_vectors_and_tensors(kernels):
    for dtype in DTYPES:
        check_fused(kernels, (5, 6, 16), 2, "lrelu", dtype, shift=1)
        check_fused(kernels, (5, 16, 6), 1, "swish", dtype, shift=1)


def test_infinities_pass_the_rectifiers(kernels):
    x = aligned(np.array([np.inf, -np.inf, np.nan, -0.0, 2.0]))
    for act, below in (("relu", 0.0), ("lrelu", -np.inf)):
        y = poisoned([5], np.float64)
        options = ctypes.byref(options_of(x[:, None], 1, act, gain=1.0))
        kernels.tfstylegan_fused_bias_act_cuda(
            1, pointer(x), None, options, pointer(y), None
        )
        np.testing.assert_array_equal(y, [np.inf, below, np.nan, 0.0, 2.0])


def test_empty_batch_has_a_zero_bias_gradient(kernels):
    d_bias = poisoned([6], np.float32)
    options = options_of(np.zeros([0, 4, 6]), 2, "lrelu")
    status = kernels.tfstylegan_fused_bias_act_grad_cuda(
        0,
        None,
        None,
        None,
        None,
        ctypes.byref(options),
        None,
        None,
        pointer(d_bias),
        None,
    )
    assert status == 0
    np.testing.assert_array_equal(d_bias, 0)


@pytest.mark.parametrize("dtype, act", [(4, 0), (-1, 0), (0, 9), (0, -1)])
def test_unknown_codes_are_invalid_values(kernels, dtype, act):
    x = np.zeros([4])
    options = options_of(x[:, None], 1, "lrelu")
    options.act = act
    status = kernels.tfstylegan_fused_bias_act_cuda(
        dtype, pointer(x), None, ctypes.byref(options), pointer(x), None
    )
    assert status == 1  # cudaErrorInvalidValue


def test_upfirdn2d_indices_are_64_bits_wide(kernels):
    """Over 2^31 and 2^32 elements, images and tiles, without the tensors."""
    height, width, channels = 70000, 90000, 512
    at = 3, height - 1, width - 1, channels - 1
    arguments = [ctypes.c_int64(v) for v in (*at, height, width, channels)]
    expected = ((at[0] * height + at[1]) * width + at[2]) * channels + at[3]
    assert kernels.sample_offset(*arguments) == expected > 2**32
    for batch, height, width, channels in [
        (2**32 + 5, 1, 1, 4),
        (3, 1, 2**33, 4),
        (3, 2**36, 1, 4),
        (5, 70000, 90000, 512),
    ]:
        size = Pair(height, width)
        shape = Shape(batch=batch, channels=channels, in_=size, out=size)
        shape.taps, shape.up, shape.down = Pair(4, 4), Pair(1, 1), Pair(1, 1)
        shape.pad0 = Pair(2, 2)
        corner = Four()
        call = functools.partial(kernels.strip_corner, ctypes.byref(shape))
        tiles = call(ctypes.c_int64(0), corner)
        assert list(corner) == [0, 0, 0, 0]
        assert call(ctypes.c_int64(tiles - 1), corner) == tiles > 2**20
        n, y, x, c = corner
        lanes = min(channels // 4, 8)
        assert n == batch - 1
        assert c == channels - lanes * 4
        # A blur's groups are one row and two columns.
        assert 0 <= height - 1 - y < 64
        assert 0 <= width - 1 - 2 * x < 2 * (128 // lanes)


@pytest.mark.parametrize(
    "outer, channels, inner", [(2**30, 12, 1), (5, 2**33, 4), (3, 7, 2**34)]
)
def test_fused_bias_act_indices_are_64_bits_wide(kernels, outer, channels, inner):
    options = Options(outer, channels, inner, 0.2, 1.0, np.inf, 2)
    size = outer * channels * inner
    at = Four()
    blocks = 4096
    stride = blocks * 4 * 256 * 4  # words in flight, threads, elements of a word
    for first in (0, 2**31 + 4, 2**32 + 20, size - 4 - stride):
        kernels.cursors(
            ctypes.byref(options), ctypes.c_int64(first), ctypes.c_int64(blocks), at
        )
        expected = []
        for element in (first, first + stride):
            expected += [element % inner, element // inner % channels]
        assert list(at) == expected
    items = kernels.walk(ctypes.byref(options), ctypes.c_int64(0), 0, at)
    kernels.walk(ctypes.byref(options), ctypes.c_int64(items - 1), 0, at)
    first, stride, count, channel = at
    assert count > 0 and first > 2**32
    assert first + (count - 1) * stride + 4 <= size
    assert channel == first // inner % channels
