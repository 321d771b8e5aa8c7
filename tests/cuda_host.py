"""The CUDA kernels' own code, compiled for the host, on NumPy's arrays.

The modules of tools/ that go with it are imported from here, where they are found.
"""

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import bench_cuda as bench_cuda
import cuda_checks as cuda_checks
import cuda_launchers as cuda_launchers
import cuda_references as cuda_references

ROOT = pathlib.Path(__file__).resolve().parents[1]
DTYPES = {
    "float32": (np.float32, 1e-5),
    "float64": (np.float64, 1e-12),
    "float16": (np.float16, 1e-2),
    "bfloat16": (ml_dtypes.bfloat16, 1e-2),
}


@functools.cache
def library():
    """The bodies as a library, without optimisations that reorder sums.

    No conversion may narrow an integer: indices are 64 bits wide.
    """
    flags = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    flags += ["-Wall", "-Wconversion", "-Wno-float-conversion", "-Werror"]
    loaded = compiled("cuda_on_host.cc", "-O1", *flags)
    loaded.strip_corner.restype = loaded.walk.restype = ctypes.c_int64
    loaded.run_last.argtypes = [ctypes.c_int64]
    return loaded


def compiled(name, *flags):
    """A source of this folder as a loaded library."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C++ compiler ({compiler} is not on the PATH)")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "compiled.so"
        command = [compiler, "-std=c++17", "-fPIC", "-shared", *flags]
        command += [f"-I{ROOT / 'custom_ops'}", str(ROOT / "tests" / name)]
        command += ["-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(path))


def launchers(allocate=None):
    """allocate: of scratch memory; poisoned unless told."""
    allocate = allocate or (lambda size: poisoned([-(-size // 8)], np.float64))
    return cuda_launchers.Launchers(library(), allocate, lambda: None)


def aligned(array, shift=0):
    """A copy whose address is `shift` elements behind a multiple of 16 bytes."""
    array = np.asarray(array)
    size = array.dtype.itemsize
    memory = np.zeros(array.nbytes + 16 + shift * size, np.uint8)
    start = -memory.ctypes.data % 16 + shift * size
    copy = memory[start : start + array.nbytes].view(array.dtype)
    copy = copy.reshape(array.shape)
    copy[...] = array
    return copy


def poisoned(shape, dtype, shift=0):
    """What a kernel does not write shows as NaN."""
    return aligned(np.full(shape, np.nan, dtype), shift)


class Arrays:
    """NumPy's, for the cases of tools/cuda_cases.py."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)

    def normal(self, shape, dtype):
        return aligned(self.random.normal(size=shape).astype(DTYPES[dtype][0]))

    def poison(self, shape, dtype):
        return poisoned(shape, DTYPES[dtype][0])

    def wide(self, array):
        return array.astype(np.float64)


def close(found, expected, tolerance, scale=None):
    """scale: what the error is relative to, if not the largest of `expected`."""
    found, expected = (np.asarray(v, np.float64) for v in (found, expected))
    assert found.shape == expected.shape
    if scale is None:
        scale = np.max(np.abs(expected), initial=1e-30)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
