"""The CUDA launchers of the ops, without TensorFlow: built with nvcc, called by ctypes.

custom_ops/README.md is their contract. Arrays are PyTorch's tensors on the GPU or, for
a library whose launchers run on the host, NumPy's arrays; None is a null pointer.
"""

import ctypes
import math
import pathlib
import subprocess

SOURCES = ("upfirdn2d.cu.cc", "fused_bias_act.cu.cc", "styled_epilogue.cu.cc")
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
ACTS = ("linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus")
ACTS += ("swish",)
Pair = ctypes.c_int64 * 2


class Upfirdn2dShape(ctypes.Structure):
    """TfstyleganUpfirdn2dShape."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        *((name, Pair) for name in ("in_", "out", "taps", "up", "down", "pad0")),
    ]

    @classmethod
    def of(cls, x_shape, size, taps_shape, up, down, pad0):
        pairs = (x_shape[1:3], size, taps_shape, up, down, pad0)
        return cls(x_shape[0], x_shape[3], *(Pair(*pair) for pair in pairs))


class FusedBiasAct(ctypes.Structure):
    """TfstyleganFusedBiasAct."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("outer", "channels", "inner")),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        ("act", ctypes.c_int),
    ]

    @classmethod
    def of(cls, shape, axis, act, alpha, gain, clamp):
        """clamp: infinity for none."""
        axis %= len(shape)
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        return cls(outer, shape[axis], inner, alpha, gain, clamp, ACTS.index(act))


class StyledEpilogue(ctypes.Structure):
    """TfstyleganStyledEpilogue."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "area", "channels", "maps")),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        ("act", ctypes.c_int),
    ]

    @classmethod
    def of(cls, shape, maps, act, alpha, gain, clamp):
        """shape: of the features; clamp: infinity for none."""
        batch, height, width, channels = shape
        sizes = batch, height * width, channels, maps
        return cls(*sizes, alpha, gain, clamp, ACTS.index(act))


# Pointers before the structure, the structure, and pointers between it and the stream.
_LAUNCHERS = {
    "upfirdn2d": (2, Upfirdn2dShape, 2),
    "fused_bias_act": (2, FusedBiasAct, 1),
    "fused_bias_act_grad": (4, FusedBiasAct, 3),
    "styled_epilogue": (5, StyledEpilogue, 1),
    "styled_epilogue_grad": (5, StyledEpilogue, 5),
    "styled_epilogue_grad_grad": (9, StyledEpilogue, 6),
}
_SCRATCH = ("upfirdn2d", "fused_bias_act_grad", "styled_epilogue_grad")


def build(folder, nvcc, arch):
    """The launchers as a shared library; RuntimeError with what nvcc says if it fails.

    The folder may go once this returns.
    """
    sources = pathlib.Path(__file__).resolve().parents[1] / "custom_ops"
    target = pathlib.Path(folder) / "launchers.so"
    command = [nvcc, "-x", "cu", "-std=c++17", "-O3", f"-arch=sm_{arch}"]
    command += ["-lineinfo", "-Xcompiler", "-fPIC", "-shared", "-cudart", "static"]
    command += [str(sources / name) for name in SOURCES]
    done = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{nvcc} failed:\n{done.stdout}{done.stderr}")
    return ctypes.CDLL(str(target))


class Launchers:
    """The launchers as functions of arrays; outputs are arguments too.

    Args:
      library: what `build` returns.
      allocate: function of a number of bytes, returns an array of them for scratch.
      stream: function that returns the address of the stream.
    """

    def __init__(self, library, allocate, stream):
        self._library, self._allocate, self._stream = library, allocate, stream
        for name, (before, structure, after) in _LAUNCHERS.items():
            pointers = [[ctypes.c_void_p] * n for n in (before, after + 1)]
            options = ctypes.POINTER(structure)
            launcher = self._function(name)
            launcher.argtypes = [ctypes.c_int, *pointers[0], options, *pointers[1]]
            if name in _SCRATCH:
                scratch = self._function(name, "_scratch")
                scratch.argtypes = [ctypes.c_int, options]
                scratch.restype = ctypes.c_int64
        library.tfstylegan_cuda_error.restype = ctypes.c_char_p

    def upfirdn2d(self, x, taps, up, down, pad0, y):
        """taps: float64, [Kh, Kw], a NumPy array."""
        shape = Upfirdn2dShape.of(x.shape, y.shape[1:3], taps.shape, up, down, pad0)
        scratch = self._scratch("upfirdn2d", x, shape)
        self._launch("upfirdn2d", x, taps, shape, scratch, y)

    def fused_bias_act(self, x, bias, options, y):
        self._launch("fused_bias_act", x, bias, options, y)

    def fused_bias_act_grad(self, dy, dy_bias, ref, bias, options, dx, d_bias):
        name = "fused_bias_act_grad"
        scratch = None if d_bias is None else self._scratch(name, dy, options)
        self._launch(name, dy, dy_bias, ref, bias, options, scratch, dx, d_bias)

    def styled_epilogue(self, x, scale, noise, strength, bias, options, y):
        self._launch("styled_epilogue", x, scale, noise, strength, bias, options, y)

    def styled_epilogue_grad(self, dy, y, scale, plane, bias, options, *outputs):
        """outputs: dx, d_scale, d_plane, d_bias."""
        scratch = self._scratch("styled_epilogue_grad", dy, options)
        inputs = dy, y, scale, plane, bias
        self._launch("styled_epilogue_grad", *inputs, options, scratch, *outputs)

    def styled_epilogue_grad_grad(
        self,
        v_x,
        v_scale,
        v_plane,
        v_bias,
        dy,
        y,
        scale,
        plane,
        bias,
        options,
        *outputs,
    ):
        """outputs: d_dy, d_y, d_scale, d_plane, d_bias."""
        scratch = self._scratch("styled_epilogue_grad", dy, options)
        inputs = v_x, v_scale, v_plane, v_bias, dy, y, scale, plane, bias
        self._launch("styled_epilogue_grad_grad", *inputs, options, scratch, *outputs)

    def _function(self, name, suffix=""):
        return getattr(self._library, f"tfstylegan_{name}_cuda{suffix}")

    def _scratch(self, name, array, options):
        size = self._function(name, "_scratch")(DTYPES[name_of(array)], options)
        return self._allocate(size) if size else None

    def _launch(self, name, *arguments):
        """The type is that of the first argument."""
        code = DTYPES[name_of(arguments[0])]
        values = [
            a if isinstance(a, ctypes.Structure) else address(a) for a in arguments
        ]
        status = self._function(name)(code, *values, self._stream())
        if status != 0:
            text = self._library.tfstylegan_cuda_error(status).decode()
            raise RuntimeError(f"the launcher of {name} returned {status}: {text}")


def address(array):
    if array is None or math.prod(array.shape) == 0:
        return None
    return array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data


def name_of(array):
    """Of its type: float32, ..."""
    return str(array.dtype).removeprefix("torch.")
