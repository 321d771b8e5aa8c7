"""Tensors of more than 2^32 elements: the ends of them, in memory that is not there.

Pages that nothing touches cost nothing. So the kernels run over the end alone of
tensors of 2^33 elements, and must give what a small tensor with the same end gives.
"""

import ctypes
import functools
import math
import mmap
import os
import pathlib
import subprocess

import cuda_host
import numpy as np
import pytest
import tensorflow as tf
from cuda_host import cuda_launchers, cuda_references

ROOT = pathlib.Path(__file__).parents[1]
Four = ctypes.c_int64 * 4
TAPS = np.outer([1.0, 3, 4, -2], [2.0, 1, 3, 1]) / 42
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)


def sparse(shape, dtype=np.float32):
    """Zeros that take memory where they are written.

    There are more around them, so that an index of 32 bits is wrong and no crash.
    """
    dtype = np.dtype(dtype)
    size, margin = math.prod(shape), 2**31 * dtype.itemsize
    try:
        memory = mmap.mmap(-1, 2 * margin + size * dtype.itemsize, flags=FLAGS)
    except OSError as error:
        pytest.skip(f"no address space for large tensors ({error})")
    return np.frombuffer(memory, dtype, size, margin).reshape(shape)


def end_of(array, most):
    """The last `most` elements of each axis, as a view."""
    return array[tuple(slice(-min(n, m), None) for n, m in zip(array.shape, most))]


@pytest.fixture
def last():
    """last(count): launches run the last `count` tiles or items alone."""
    yield cuda_host.library().run_last
    cuda_host.library().run_last(0)


def launchers():
    return cuda_host.launchers(lambda size: sparse([size], np.uint8))


@functools.cache
def cpu():
    include = tf.sysconfig.get_include()
    flags = ["-O1", "-Wall", "-Wno-psabi", "-isystem", include]
    flags += ["-Wconversion", "-Wno-float-conversion", "-Werror"]
    return cuda_host.compiled("cpu_indices.cc", *flags)


LARGE = [
    (2**27, 4, 4, 16),
    (1, 2**27, 4, 16),
    (1, 4, 2**27, 16),
]


def blur_input(shape):
    """A sparse tensor with numbers at its end, and that end."""
    x = sparse(shape)
    end = end_of(x, (1, 8, 8, 16))
    end[...] = np.random.randn(*end.shape)
    assert x.size > 2**32
    return x, cuda_host.aligned(end)


def last_outputs(y):
    """Those that depend on the end of the input alone."""
    return end_of(y, (1, 2, 2, 16))


def blur(x, taps):
    return x.shape[1:3], taps.shape, (1, 1), (1, 1), (2, 2)


@pytest.mark.parametrize("shape", [*LARGE, (1, 2, 2, 2**31)])
@pytest.mark.parametrize("separable", [True, False])
def test_cuda_upfirdn2d_at_the_end_of_large_tensors(last, shape, separable):
    taps = TAPS if separable else TAPS + np.eye(4)  # strips, general
    arguments = taps, (1, 1), (1, 1), (2, 2)
    x, end = blur_input(shape)
    expected = np.zeros_like(end)
    launchers().upfirdn2d(end, *arguments, expected)
    last(1 if separable else 64)
    y = sparse(shape)
    launchers().upfirdn2d(x, *arguments, y)
    one = (1, 1, 1, 16)
    assert np.all(end_of(expected, one))
    np.testing.assert_array_equal(end_of(y, one), end_of(expected, one))


@pytest.mark.parametrize("shape", LARGE[:2])
@pytest.mark.parametrize("kernel", ["general", "four taps"])
def test_cpu_upfirdn2d_at_the_end_of_large_tensors(kernel, shape):
    def run(x, y):
        geometry = cuda_launchers.Upfirdn2dShape.of(x.shape, *blur(x, TAPS))
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
        taps = ctypes.c_void_p(TAPS.ctypes.data)
        if kernel == "general":
            end = x.shape[0] * x.shape[1]
            rows = ctypes.c_int64(end - 2), ctypes.c_int64(end)
            cpu().general_rows(ctypes.byref(geometry), taps, *rows, *pointers)
        else:
            count = ctypes.c_int64(1)
            cpu().four_tap_blocks(ctypes.byref(geometry), taps, count, *pointers)
        return last_outputs(y)

    x, end = blur_input(shape)
    expected = run(end, np.zeros_like(end))
    assert np.all(expected)
    np.testing.assert_array_equal(run(x, sparse(shape)), expected)


def test_cpu_upfirdn2d_at_the_end_of_wide_images():
    def run(x, y):
        geometry = cuda_launchers.Upfirdn2dShape.of(x.shape, *blur(x, TAPS))
        width = x.shape[2]
        at = [ctypes.c_int64(v) for v in (x.shape[1] - 1, width - 2, width)]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
        taps = ctypes.c_void_p(TAPS.ctypes.data)
        cpu().general_piece(ctypes.byref(geometry), taps, *at, *pointers)
        return last_outputs(y)[:, -1:]

    x, end = blur_input(LARGE[2])
    expected = run(end, np.zeros_like(end))
    assert np.all(expected)
    np.testing.assert_array_equal(run(x, sparse(x.shape)), expected)


@pytest.mark.parametrize("shape", [(5, 2**31, 4), (3, 7, 2**31)])
def test_cuda_fused_bias_act_grad_at_the_end_of_large_tensors(last, shape):
    dy, y, dx = (sparse(shape) for _ in range(3))
    d_bias = sparse(shape[1:2])
    ends = [end_of(array, (1, 1, 4)) for array in (dy, y)]
    for end in ends:
        end[...] = np.random.randn(*end.shape)
    options = cuda_launchers.FusedBiasAct.of(shape, 1, "lrelu", 0.2, 1.5, np.inf)
    last(1)
    launchers().fused_bias_act_grad(dy, None, y, None, options, dx, d_bias)
    assert dy.size > 2**32
    expected = ends[0] * np.where(ends[1] > 0, 1.5, 0.3)
    cuda_host.close(end_of(dx, (1, 1, 4)), expected, 1e-6)
    cuda_host.close(d_bias[-1], expected.sum(), 1e-6)


@pytest.mark.parametrize(
    "shape", [(2**31, 1, 2, 4), (1, 2**16, 2**16, 1), (1, 64, 64, 2**21)]
)
def test_cuda_epilogue_at_the_end_of_large_tensors(last, shape):
    batch, height, width, channels = shape
    shapes = [batch, channels], [batch, height, width, 1], [channels]
    tensors = [shape, shape, shape, *shapes, *shapes]
    most = (1, 2, 2, 4)
    parts = [most] * 3 + [(1, 4), (1, 2, 2, 1), (4,)] * 2
    inputs = [sparse(s) for s in tensors]
    ends = [end_of(array, part) for array, part in zip(inputs, parts)]
    for end in ends:
        end[...] = 0.5 + np.random.uniform(size=end.shape)
    v_x, dy, x, *rest = inputs
    vectors, cotangents = rest[:3], rest[3:]
    wide = [end.astype(np.float64) for end in ends]
    scalars = "lrelu", 0.2, 1.5, np.inf
    options = cuda_launchers.StyledEpilogue.of(shape, batch, *scalars)
    strength = np.ones([], np.float32)
    last(1)

    y = sparse(shape)
    inputs = x, *vectors[:2], strength, vectors[2]
    launchers().styled_epilogue(*inputs, options, y)
    expected = cuda_references.styled_epilogue(wide[2], *wide[3:6], *scalars)
    cuda_host.close(end_of(y, most), expected, 1e-6)

    y_end = end_of(y, most).astype(np.float64)

    def check(outputs, expected):
        """Of the last pixel; of d_bias, where the last block adds all that it is."""
        for output, end in zip(outputs, expected):
            if output.ndim == 1 and channels > 1:
                continue
            one = (*[1] * (end.ndim - 1), 4)
            cuda_host.close(end_of(output, one), end_of(end, one), 1e-5)

    outputs = [sparse(s) for s in (shape, *shapes)]
    launchers().styled_epilogue_grad(dy, y, *vectors, options, *outputs)
    inputs = wide[1], y_end, *wide[3:6]
    check(outputs, cuda_references.styled_epilogue_grad(*inputs, *scalars))

    outputs = [sparse(s) for s in (shape, shape, *shapes)]
    inputs = v_x, *cotangents, dy, y, *vectors
    launchers().styled_epilogue_grad_grad(*inputs, options, *outputs)
    inputs = wide[0], *wide[6:], wide[1], y_end, *wide[3:6]
    check(outputs, cuda_references.styled_epilogue_grad_grad(*inputs, *scalars))


def test_strips_begin_where_they_must():
    """Over 2^31 and 2^32 elements, images and tiles, without the tensors."""
    kernels = cuda_host.library()
    for batch, height, width, channels in [
        (2**32 + 5, 1, 1, 4),
        (3, 1, 2**33, 4),
        (3, 2**36, 1, 4),
        (5, 70000, 90000, 512),
    ]:
        x_shape = batch, height, width, channels
        pairs = (4, 4), (1, 1), (1, 1), (2, 2)
        shape = cuda_launchers.Upfirdn2dShape.of(x_shape, (height, width), *pairs)
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
def test_walks_of_fused_bias_act_are_where_they_must_be(outer, channels, inner):
    kernels = cuda_host.library()
    options = cuda_launchers.FusedBiasAct(outer, channels, inner, 0.2, 1.0, np.inf, 2)
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


@pytest.mark.slow
@pytest.mark.parametrize("cuda", [False, True])
@pytest.mark.parametrize("name", ["upfirdn2d", "fused_bias_act", "styled_epilogue"])
def test_no_op_narrows_an_integer(name, cuda):
    """The offsets that the kernels of both devices compute on TensorFlow's side."""
    flags = [f for f in tf.sysconfig.get_compile_flags() if not f.startswith("-I")]
    flags += ["-isystem", tf.sysconfig.get_include(), "-DTFSTYLEGAN_CUDA"]
    flags += ["-Werror=conversion", "-Wno-float-conversion", "-Wno-psabi"]
    source = ROOT / "custom_ops" / f"{name}{'_gpu' if cuda else ''}.cc"
    command = [os.environ.get("CXX", "g++"), "-fsyntax-only", *flags, str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
